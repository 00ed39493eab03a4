import type { Image } from './image.ts'
import { sameContent } from './scan.ts'

/** Images of a list that differ from each other. */
export class Distinct {
  readonly images: Image[] = []
  private readonly seen = new Map<string, number[]>()

  /** Adds an image, and gives the place of it or of an equal one among `images`. */
  add(image: Image, digest: number): number {
    const key = `${image.channels}x${image.height}x${image.width}:${digest}`
    const candidates = this.seen.get(key) ?? []
    for (const place of candidates) {
      const known = this.images[place]
      if (known !== undefined && sameContent(known, image)) return place
    }
    const place = this.push(image)
    this.seen.set(key, [...candidates, place])
    return place
  }

  /** Adds an image without comparing. */
  push(image: Image): number {
    return this.images.push(image) - 1
  }
}

import type { Size } from '../runtime/image.ts'
import type { GoldenCase, GoldenImage } from './golden-case.ts'
import type { GoldenSubject } from './golden-subject.ts'
import { type Grid, gridOf } from './padded.ts'
import type { Actor } from './scene.ts'

/** How the model should see a golden image. From pixels, zero edges do not count and a patch begun counts whole. */
export function castActor(subject: GoldenSubject, image: GoldenImage): Actor {
  const { patch } = subject.goldenCase
  const { tags, height, width } = image
  let own = gridOf(image, { height: patch, width: patch })
  if (subject.masking.source === 'pixels') {
    own = { rows: Math.ceil(height / patch), cols: Math.ceil(width / patch) }
    if (tags.includes('edge-zero')) own = { rows: own.rows - 1, cols: own.cols - 1 }
  }
  return {
    label: tags.join(' '),
    pixels: image.pixels,
    size: { height, width },
    own,
    hidden: subject.masking.mode === 'patch' ? zeroPatches(image, own, patch) : [],
  }
}

/** Patches of the grid whose every pixel is zero. */
function zeroPatches(image: GoldenImage, grid: Grid, patch: number): number[] {
  const seen = new Set<number>()
  const [, height = 0, width = 0] = image.pixels.dims
  image.pixels.data.forEach((value, i) => {
    if (value === 0) return
    const row = Math.floor((Math.floor(i / width) % height) / patch)
    seen.add(row * grid.cols + Math.floor((i % width) / patch))
  })
  return Array.from({ length: grid.rows * grid.cols }, (_, index) => index).filter((index) => !seen.has(index))
}

/** The least canvas of whole patches for all images, and some patches more. */
export function canvasOver(goldenCase: GoldenCase, extraPatches: number): Size {
  const { images, patch } = goldenCase
  const over = (lengths: number[]): number => (Math.ceil(Math.max(...lengths) / patch) + extraPatches) * patch
  return { height: over(images.map((image) => image.height)), width: over(images.map((image) => image.width)) }
}

/** Images whose answer in the batch should be PyTorch's answer alone. */
export function comparable(subject: GoldenSubject): readonly GoldenImage[] {
  const { images } = subject.goldenCase
  const { source, mode } = subject.masking
  const left = [
    ...(source === 'pixels' ? ['ragged', 'edge-zero'] : []),
    ...(mode === 'patch' ? ['edge-zero', 'interior-zero'] : []),
  ]
  return images.filter((image) => !image.tags.some((tag) => left.includes(tag)))
}

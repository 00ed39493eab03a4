import { createHash } from 'node:crypto'
import type { Image } from './image.ts'

/** What looking at every pixel of an image once tells. */
export interface Scan {
  /** Equal for images of equal content; unequal for nearly all others. */
  readonly digest: number
  /** Where the first pixel is that is NaN or infinite; -1 where all are finite. */
  readonly broken: number
}

/** Pixels looked at between two chances for the event loop to turn. */
const SLICE = 1 << 18

const EXPONENT = 0x7f800000

/** Digests an image and looks for pixels that are no numbers. */
export function* scanImage({ data }: Image): Generator<undefined, Scan, undefined> {
  const words = new Uint32Array(data.buffer, data.byteOffset, data.length)
  const { length } = words
  // Two digests by turns, so that one multiplication need not wait for the other.
  let even = 0x811c9dc5
  let odd = 0x01000193
  let broken = -1
  for (let from = 0; from < length; from += SLICE) {
    const to = Math.min(length, from + SLICE)
    let bad = 0
    let i = from
    for (; i + 1 < to; i += 2) {
      const a = words[i] ?? 0
      const b = words[i + 1] ?? 0
      even = Math.imul(even ^ a, 0x01000193) ^ (a >>> 15)
      odd = Math.imul(odd ^ b, 0x85ebca6b) ^ (b >>> 13)
      bad |= +((a & EXPONENT) === EXPONENT) | +((b & EXPONENT) === EXPONENT)
    }
    if (i < to) {
      const a = words[i] ?? 0
      even = Math.imul(even ^ a, 0x01000193) ^ (a >>> 15)
      bad |= +((a & EXPONENT) === EXPONENT)
    }
    if (bad !== 0) {
      broken = data.subarray(from, to).findIndex((value) => !Number.isFinite(value)) + from
      break
    }
    yield
  }
  return { digest: (even ^ Math.imul(odd, 31)) >>> 0, broken }
}

/** True where two images of one size hold the same bits. */
export function sameContent(a: Image, b: Image): boolean {
  return Buffer.compare(bytesOf(a.data), bytesOf(b.data)) === 0
}

/** A name for an image's content that no other image has. */
export function* fingerprint({ data, channels, height, width }: Image): Generator<undefined, string, undefined> {
  const hash = createHash('sha256')
  for (let from = 0; from < data.length; from += SLICE) {
    hash.update(bytesOf(data.subarray(from, from + SLICE)))
    yield
  }
  return `${channels}x${height}x${width}:${hash.digest('base64')}`
}

function bytesOf(data: Float32Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength)
}

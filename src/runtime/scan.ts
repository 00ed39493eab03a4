import { createHash } from 'node:crypto'
import type { Image } from './image.ts'

/** Pixels looked at between two chances for the event loop to turn. */
const SLICE = 1 << 18

const MAGNITUDE = 0x7fffffff
const LEAST_EXPONENT = 0x00800000

/** The place of the first pixel that is NaN or infinite; -1 where all are finite. */
export function* findBroken({ data }: Image): Generator<undefined, number, undefined> {
  const words = wordsOf(data)
  for (let from = 0; from < words.length; from += SLICE) {
    const to = Math.min(words.length, from + SLICE)
    // One more step carries the exponent of what is not finite, all ones, over into the sign.
    let even = 0
    let odd = 0
    for (let i = from; i < to; i += 2) {
      even |= (((words[i] ?? 0) & MAGNITUDE) + LEAST_EXPONENT) | 0
      odd |= (((words[i + 1] ?? 0) & MAGNITUDE) + LEAST_EXPONENT) | 0
    }
    if ((even | odd) < 0) return data.subarray(from, to).findIndex((value) => !Number.isFinite(value)) + from
    yield
  }
  return -1
}

/** A number that is equal for images of equal content, and unequal for nearly all others. */
export function* digestOf({ data }: Image): Generator<undefined, number, undefined> {
  const words = wordsOf(data)
  // Two digests by turns, so that one multiplication need not wait for the other.
  let even = 0x811c9dc5
  let odd = 0x01000193
  for (let from = 0; from < words.length; from += SLICE) {
    const to = Math.min(words.length, from + SLICE)
    for (let i = from; i < to; i += 2) {
      const a = words[i] ?? 0
      const b = words[i + 1] ?? 0
      even = Math.imul(even ^ a, 0x01000193) ^ (a >>> 15)
      odd = Math.imul(odd ^ b, 0x85ebca6b) ^ (b >>> 13)
    }
    yield
  }
  return (even ^ Math.imul(odd, 31)) >>> 0
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

function wordsOf(data: Float32Array): Int32Array {
  return new Int32Array(data.buffer, data.byteOffset, data.length)
}

function bytesOf(data: Float32Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength)
}

import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Dense, readSafetensors } from './safetensors.ts'

/** Image files of many kinds; `fixtures/export/images.py` made them and what Python makes of them. */
export const IMAGES = resolve(import.meta.dirname, '../../fixtures/images')

interface Cases {
  /** Files that every decoder should see alike. */
  readonly decoded: readonly string[]
  /** What image processors of transformers make of `plain.png`. */
  readonly prepared: readonly {
    readonly name: string
    readonly config: Readonly<Record<string, unknown>>
    /** Height and width of the result. */
    readonly size: readonly [number, number]
    /** The rows that are kept of the result; null for all. */
    readonly rows: readonly number[] | null
  }[]
}

export const imageCases: Cases = JSON.parse(readFileSync(join(IMAGES, 'cases.json'), 'utf8'))

const tensors = readSafetensors(join(IMAGES, 'expected.safetensors'))

/** @throws Error where there is no such tensor */
export function expectedImage(key: string): Dense {
  const found = tensors.get(key)
  if (found === undefined) throw new Error(`there is no tensor ${key}`)
  return found
}

/** The largest difference of two arrays of one length. */
export function farthest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY
  return Array.from(a, (value, i) => Math.abs(value - (b[i] ?? Number.NaN))).reduce((x, y) => Math.max(x, y), 0)
}

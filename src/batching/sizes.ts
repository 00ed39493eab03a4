import { VitpassError } from '../errors.ts'
import type { SizeCount } from './buckets.ts'
import { cropToPatches, gridOf, type Size } from './cost.ts'

/**
 * Reads sizes from JSON: a list of `[height, width]`, `[height, width, count]` and `{"height", "width", "count"}`, where `count` may be
 * missing.
 * @param name what the text is, for the message
 * @throws VitpassError BAD_OPTION that names the entry
 */
export function parseSizes(text: string, name: string): SizeCount[] {
  const parsed = parseJson(text, name)
  if (!Array.isArray(parsed)) throw bad(`${name} is no list`)
  return parsed.map((entry: unknown, i) => {
    const [height, width, count = 1] = partsOf(entry)
    if (isCount(height) && isCount(width) && isCount(count)) return { height, width, count }
    throw bad(`entry ${i + 1} of ${name} is ${(JSON.stringify(entry) ?? '').slice(0, 60)}`)
  })
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw bad(`${name} is no JSON (${cause instanceof Error ? cause.message : String(cause)})`)
  }
}

function partsOf(entry: unknown): readonly unknown[] {
  if (Array.isArray(entry)) return entry.length === 2 || entry.length === 3 ? entry : []
  if (typeof entry !== 'object' || entry === null) return []
  const { height, width, count, ...rest } = entry as Readonly<Record<string, unknown>>
  return Object.keys(rest).length === 0 ? [height, width, count] : []
}

function bad(what: string): VitpassError {
  return new VitpassError('BAD_OPTION', what, {
    remedy: 'give [height, width], [height, width, count] or {"height", "width", "count"}, whole numbers from 1',
  })
}

/** True for whole numbers from 1. */
export function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}

/** Equal sizes as one, the smaller first. */
export function countSizes(sizes: readonly SizeCount[]): SizeCount[] {
  const counted = new Map<string, SizeCount>()
  for (const { height, width, count } of sizes) {
    const key = `${height} ${width}`
    counted.set(key, { height, width, count: count + (counted.get(key)?.count ?? 0) })
  }
  return [...counted.values()].sort((a, b) => a.height - b.height || a.width - b.width)
}

/**
 * Sizes in whole patches, which is what a plan goes by: begun patches are whole ones or, with `crop`, are cut off.
 * @throws VitpassError BAD_OPTION where nothing is left of an image
 */
export function toPatches(sizes: readonly SizeCount[], patch: Size, crop: boolean): SizeCount[] {
  const whole = sizes.map(({ height, width, count }): SizeCount => {
    if (crop) return { ...cropToPatches({ height, width }, patch), count }
    const { rows, cols } = gridOf({ height, width }, patch)
    return { height: rows * patch.height, width: cols * patch.width, count }
  })
  const empty = whole.findIndex(({ height, width }) => height === 0 || width === 0)
  if (empty < 0) return countSizes(whole)
  const { height, width } = sizes[empty] ?? patch
  throw new VitpassError('BAD_OPTION', `${height}x${width} is smaller than a patch of ${patch.height}x${patch.width}`, {
    remedy: 'leave such images out, or let them be padded instead of cropped',
  })
}

/** The first size that another does not hold; undefined where it holds all. */
export function firstTooLarge(sizes: readonly SizeCount[], room: Size): SizeCount | undefined {
  return sizes.find(({ height, width }) => height > room.height || width > room.width)
}

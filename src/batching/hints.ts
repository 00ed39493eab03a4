import type { Size } from './cost.ts'

/** A size to which images are padded, in pixels, and how many such images a call takes at most. */
export interface Bucket extends Size {
  readonly batch: number
}

/** What the `bucket` pass writes into a model's metadata. */
export interface BucketHints {
  readonly version: 1
  readonly patch: Size
  /** Fewest tokens first. */
  readonly buckets: readonly Bucket[]
}

/** The key in `metadata_props`. */
export const HINTS_KEY = 'vitpass.buckets'

/** The hints in a text; null where there is none, or one of another version or form. */
export function readHints(text: string | undefined): BucketHints | null {
  if (text === undefined) return null
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof parsed !== 'object' || parsed === null) return null
  const { version, patch, buckets } = parsed as Readonly<Record<string, unknown>>
  if (version !== 1 || !isSize(patch) || !Array.isArray(buckets)) return null
  return buckets.every(isBucket) ? { ...parsed, version, patch, buckets } : null
}

function isSize(value: unknown): value is Size {
  return typeof value === 'object' && value !== null && ['height', 'width'].every((key) => isLength(value, key))
}

function isBucket(value: unknown): value is Bucket {
  return isSize(value) && isLength(value, 'batch')
}

function isLength(value: object, key: string): boolean {
  const length: unknown = key in value ? value[key as keyof typeof value] : undefined
  return typeof length === 'number' && Number.isSafeInteger(length) && length > 0
}

/** The bucket with the fewest tokens that holds an image; undefined where it fits none. */
export function bucketFor(size: Size, { buckets }: BucketHints): Bucket | undefined {
  return buckets.find((bucket) => bucket.height >= size.height && bucket.width >= size.width)
}

import type { CostModel, Size } from './cost.ts'

/** A size to which images are padded, in pixels, and how many such images a call takes at most. */
export interface Bucket extends Size {
  readonly batch: number
}

/** What the `bucket` pass writes into a model's metadata. */
export interface BucketHints {
  readonly version: 1
  readonly patch: Size
  /** Tokens in front of the patches. */
  readonly prefix: number
  /** Fewest tokens first. */
  readonly buckets: readonly (Bucket & Partial<BucketUse>)[]
  /** What the plan was made with, and what to expect of it; missing where the buckets were given. */
  readonly cost?: CostModel
  readonly expected?: {
    readonly images: number
    /** Of all tokens, the share that is padding. */
    readonly padding: number
    /** True where no other choice of as many buckets costs less. */
    readonly optimal: boolean
    /** By what share of the least cost this plan can be above it. */
    readonly atMostAbove: number
    /** What all images cost, in the unit of `cost`, and how that compares: without any padding, and in one bucket for all. */
    readonly cost: number
    readonly overUnpadded: number
    readonly ofSingle: number
  }
}

/** What a bucket is expected to be used for. */
export interface BucketUse {
  /** Tokens of an image in it. */
  readonly tokens: number
  readonly images: number
  /** Of the tokens that its images take, the share that is padding. */
  readonly padding: number
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
  const { version, patch, prefix, buckets } = parsed as Readonly<Record<string, unknown>>
  if (version !== 1 || !isSize(patch) || !Array.isArray(buckets)) return null
  if (typeof prefix !== 'number' || !buckets.every(isBucket)) return null
  return { ...parsed, version, patch, prefix, buckets }
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

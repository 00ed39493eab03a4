import type { Size } from './image.ts'
import type { Filter } from './resample.ts'

/** Which size an image is resized to; lengths in pixels. */
export type SizePolicy =
  | { readonly kind: 'exact'; readonly height: number; readonly width: number }
  /** The shorter side becomes `shortest`; where the longer one would pass `longest`, it becomes that instead. */
  | { readonly kind: 'shortest'; readonly shortest: number; readonly longest?: number }
  | { readonly kind: 'longest'; readonly longest: number }
  /** As large as fits into a box, larger than it was if need be. */
  | { readonly kind: 'fit'; readonly maxHeight: number; readonly maxWidth: number }

/** How an image is resized. */
export interface Resize {
  readonly to: SizePolicy
  readonly filter: Filter
  /** Whether values are scaled to floats before, so that no pass rounds them to bytes. */
  readonly floats: boolean
}

/**
 * The size that a policy gives an image, rounded as transformers 5 rounds it: down, except for `longest` (to the nearest, as SAM does) and
 * the shorter side where `longest` bounds it (to the nearest even, as DETR does). A side never becomes 0.
 */
export function targetSize(policy: SizePolicy, { height, width }: Size): Size {
  switch (policy.kind) {
    case 'exact':
      return { height: policy.height, width: policy.width }
    case 'shortest':
      return shortestTo(policy, { height, width })
    case 'longest': {
      const scale = policy.longest / Math.max(height, width)
      return atLeastOne(Math.trunc(height * scale + 0.5), Math.trunc(width * scale + 0.5))
    }
    case 'fit': {
      const scale = Math.min(policy.maxHeight / height, policy.maxWidth / width)
      return atLeastOne(Math.trunc(height * scale), Math.trunc(width * scale))
    }
  }
}

function shortestTo(
  { shortest, longest = Number.POSITIVE_INFINITY }: { readonly shortest: number; readonly longest?: number },
  { height, width }: Size,
): Size {
  const short = Math.min(height, width)
  const long = Math.max(height, width)
  // The long side follows the unrounded short one.
  const bounded = (long / short) * shortest > longest
  const raw = bounded ? (longest * short) / long : shortest
  const side = bounded ? roundToEven(raw) : shortest
  if (short === side) return { height, width }
  const other = Math.trunc((raw * long) / short)
  return height <= width ? atLeastOne(side, other) : atLeastOne(other, side)
}

function atLeastOne(height: number, width: number): Size {
  return { height: Math.max(1, height), width: Math.max(1, width) }
}

/** Python's `round`: halves go to the even neighbour. */
function roundToEven(value: number): number {
  const floor = Math.floor(value)
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value)
}

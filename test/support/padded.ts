import { type Grid, gridOf as gridIn, type Size } from '../../src/verify/padded.ts'

export { type Grid, item, padBatch, type Size } from '../../src/verify/padded.ts'

/** Whole square patches in a size. */
export function gridOf(size: Size, patch: number): Grid {
  return gridIn(size, { height: patch, width: patch })
}

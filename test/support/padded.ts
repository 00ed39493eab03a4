import type { Size } from '../../src/runtime/image.ts'
import { type Grid, gridOf as gridIn } from '../../src/verify/padded.ts'

export type { Size } from '../../src/runtime/image.ts'
export { type Grid, item, padBatch } from '../../src/verify/padded.ts'

/** Whole square patches in a size. */
export function gridOf(size: Size, patch: number): Grid {
  return gridIn(size, { height: patch, width: patch })
}

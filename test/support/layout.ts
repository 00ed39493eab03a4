import * as verify from '../../src/verify/layout.ts'
import type { Dense } from './safetensors.ts'

/** What runs along one axis of an output: prefix and patches, patches alone, one side of the grid, or no position. */
export type Axis = 'tokens' | 'patches' | 'rows' | 'cols' | 'fixed'

/** The axes of one image's output, the batch axis left out. */
export type Layout = readonly Axis[]

/** Where one image lies on a padded grid. */
export interface Placement extends verify.Placement {
  readonly prefix: number
}

/** The layout with the number of prefix tokens said at each axis. */
export function withPrefix(layout: Layout, prefix: number): verify.Layout {
  return layout.map((kind) => {
    if (kind === 'tokens') return { kind, before: prefix, after: 0 }
    return kind === 'patches' ? { kind: 'tokens', before: 0, after: 0 } : { kind }
  })
}

/** An image's own part of its padded output, as it would be alone. */
export function ownPart(output: Dense, layout: Layout, placement: Placement): Dense {
  return verify.ownPart(output, withPrefix(layout, placement.prefix), placement)
}

/** The values of a padded output that belong to a masked position on any axis: padding, and hidden patches. */
export function maskedPart(output: Dense, layout: Layout, placement: Placement): Float32Array {
  return verify.maskedPart(output, withPrefix(layout, placement.prefix), placement)
}

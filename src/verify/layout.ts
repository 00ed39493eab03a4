import type { Dense } from '../runtime/session.ts'
import type { Grid } from './padded.ts'

/** What runs along one axis of an output: patches in reading order and other tokens around them, one side of the grid, or no position. */
export type Axis =
  | { readonly kind: 'tokens'; readonly before: number; readonly after: number }
  | { readonly kind: 'rows' }
  | { readonly kind: 'cols' }
  | { readonly kind: 'fixed' }

/** The axes of one image's output, the batch axis left out. */
export type Layout = readonly Axis[]

/** Where one image lies on a padded grid. */
export interface Placement {
  readonly padded: Grid
  readonly own: Grid
  /** Patches of the own grid that are masked all the same, as row * own.cols + col. */
  readonly hidden: readonly number[]
}

const FIXED: Axis = { kind: 'fixed' }

/** How long an axis is on a grid; undefined where the grid does not say. */
export function axisLength(axis: Axis, grid: Grid): number | undefined {
  if (axis.kind === 'tokens') return axis.before + grid.rows * grid.cols + axis.after
  if (axis.kind === 'rows') return grid.rows
  return axis.kind === 'cols' ? grid.cols : undefined
}

/** An image's own part of its padded output, as it would be alone. */
export function ownPart(output: Dense, layout: Layout, placement: Placement): Dense {
  const chosen = output.dims.map((length, i) => ownIndices(layout[i] ?? FIXED, length, placement))
  const dims = chosen.map((indices) => indices.length)
  const data = new Float32Array(dims.reduce((product, dim) => product * dim, 1))
  let at = 0
  const visit = (i: number, offset: number): void => {
    const indices = chosen[i]
    if (indices === undefined) {
      data[at++] = output.data[offset] ?? Number.NaN
      return
    }
    for (const index of indices) visit(i + 1, offset * (output.dims[i] ?? 0) + index)
  }
  visit(0, 0)
  return { data, dims }
}

/** The values of a padded output that belong to a masked position on any axis: padding, and hidden patches. */
export function maskedPart(output: Dense, layout: Layout, placement: Placement): Float32Array {
  const { padded, own, hidden } = placement
  const patches = padded.rows * padded.cols
  const shown = Array.from({ length: patches }, (_, patch) => {
    const row = Math.floor(patch / padded.cols)
    const col = patch % padded.cols
    return row < own.rows && col < own.cols && !hidden.includes(row * own.cols + col)
  })
  const values: number[] = []
  const visit = (i: number, offset: number, masked: boolean, row: number): void => {
    const length = output.dims[i]
    if (length === undefined) {
      if (masked) values.push(output.data[offset] ?? Number.NaN)
      return
    }
    const axis = layout[i] ?? FIXED
    for (let index = 0; index < length; index++) {
      const patch = axis.kind === 'tokens' ? index - axis.before : axis.kind === 'cols' ? row * padded.cols + index : -1
      const hides = patch >= 0 && patch < patches && shown[patch] !== true
      visit(i + 1, offset * length + index, masked || hides, axis.kind === 'rows' ? index : row)
    }
  }
  visit(0, 0, false, 0)
  return Float32Array.from(values)
}

function ownIndices(axis: Axis, length: number, { padded, own }: Placement): number[] {
  if (axis.kind === 'fixed') return range(length)
  if (axis.kind === 'rows') return range(own.rows)
  if (axis.kind === 'cols') return range(own.cols)
  const { before, after } = axis
  const patches = range(own.rows).flatMap((row) => range(own.cols).map((col) => before + row * padded.cols + col))
  const behind = before + padded.rows * padded.cols
  return [...range(before), ...patches, ...range(after).map((i) => behind + i)]
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i)
}

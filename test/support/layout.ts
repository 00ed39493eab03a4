import type { GoldenCase } from './cases.ts'
import { type Grid, gridOf } from './padded.ts'
import type { Dense } from './safetensors.ts'

/** What runs along one axis of an output: prefix and patches, patches alone, one side of the grid, or no position. */
export type Axis = 'tokens' | 'patches' | 'rows' | 'cols' | 'fixed'

/** The axes of one image's output, the batch axis left out. */
export type Layout = readonly Axis[]

/** Where one image lies on a padded grid. */
export interface Placement {
  readonly prefix: number
  readonly padded: Grid
  readonly own: Grid
  /** Patches of the own grid that are masked all the same, as row * own.cols + col. */
  readonly hidden: readonly number[]
}

const SIZED: readonly Axis[] = ['tokens', 'patches', 'rows', 'cols']

/** Reads an output's layout off the shapes that PyTorch gives for images of different sizes. */
export function inferLayout(goldenCase: GoldenCase, output: string): Layout {
  const grids = goldenCase.images.map((image) => gridOf(image, goldenCase.patch))
  const shapes = goldenCase.images.map(({ index }) => goldenCase.expected(output, index).dims)
  return (shapes[0] ?? []).map((first, axis) => {
    if (shapes.every((dims) => dims[axis] === first)) return 'fixed'
    const fits = (kind: Axis): boolean =>
      grids.every((grid, i) => shapes[i]?.[axis] === axisLength(kind, grid, goldenCase.prefix))
    const found = SIZED.find(fits)
    if (found === undefined) throw new Error(`axis ${axis} of golden ${output} follows neither tokens nor the grid`)
    return found
  })
}

/** How long an axis is on a grid; undefined where the grid does not say. */
export function axisLength(kind: Axis, grid: Grid, prefix: number): number | undefined {
  if (kind === 'tokens') return prefix + grid.rows * grid.cols
  if (kind === 'patches') return grid.rows * grid.cols
  if (kind === 'rows') return grid.rows
  return kind === 'cols' ? grid.cols : undefined
}

/** An image's own part of its padded output, as it would be alone. */
export function ownPart(output: Dense, layout: Layout, placement: Placement): Dense {
  const chosen = output.dims.map((length, axis) => ownIndices(layout[axis] ?? 'fixed', length, placement))
  const dims = chosen.map((indices) => indices.length)
  const data = new Float32Array(dims.reduce((product, dim) => product * dim, 1))
  let at = 0
  const visit = (axis: number, offset: number): void => {
    const indices = chosen[axis]
    if (indices === undefined) {
      data[at++] = output.data[offset] ?? Number.NaN
      return
    }
    for (const index of indices) visit(axis + 1, offset * (output.dims[axis] ?? 0) + index)
  }
  visit(0, 0)
  return { data, dims }
}

/** The values of a padded output that belong to a masked position on any axis: padding, and hidden patches. */
export function maskedPart(output: Dense, layout: Layout, placement: Placement): Float32Array {
  const { prefix, padded, own, hidden } = placement
  const shown = (patch: number): boolean => {
    const row = Math.floor(patch / padded.cols)
    const col = patch % padded.cols
    return row < own.rows && col < own.cols && !hidden.includes(row * own.cols + col)
  }
  const patchShown = Array.from({ length: padded.rows * padded.cols }, (_, patch) => shown(patch))
  const values: number[] = []
  const visit = (axis: number, offset: number, masked: boolean, row: number): void => {
    const length = output.dims[axis]
    if (length === undefined) {
      if (masked) values.push(output.data[offset] ?? Number.NaN)
      return
    }
    const kind = layout[axis]
    for (let i = 0; i < length; i++) {
      const patch =
        kind === 'tokens' ? i - prefix : kind === 'patches' ? i : kind === 'cols' ? row * padded.cols + i : -1
      const hides = patch >= 0 && patchShown[patch] !== true
      visit(axis + 1, offset * length + i, masked || hides, kind === 'rows' ? i : row)
    }
  }
  visit(0, 0, false, 0)
  return Float32Array.from(values)
}

function ownIndices(kind: Axis, length: number, { prefix, padded, own }: Placement): number[] {
  if (kind === 'fixed') return range(length)
  if (kind === 'rows') return range(own.rows)
  if (kind === 'cols') return range(own.cols)
  const before = kind === 'tokens' ? prefix : 0
  const patches = range(own.rows).flatMap((row) => range(own.cols).map((col) => before + row * padded.cols + col))
  return [...range(before), ...patches]
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i)
}

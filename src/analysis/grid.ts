import { type Dim, isInt, layoutKey, roots, terms } from '../ir/dim.ts'

/** The patch grid of a trace. */
export interface GridDims {
  readonly rows: Dim
  readonly cols: Dim
}

/** True for an axis whose length depends on the image's height or width: tokens, patches, rows or columns lie along it. */
export function dependsOnSize(dim: Dim): boolean {
  const from = roots(dim)
  return from.has('height') || from.has('width')
}

/** True for patches in reading order: rows, and the columns inside them. */
export function isPatchRow(dim: Dim, { rows, cols }: GridDims): boolean {
  return layoutKey(dim) === `${layoutKey(rows)}*${layoutKey(cols)}`
}

/** True for an axis of patches in reading order and any fixed number of other tokens around them. */
export function isTokenRow(dim: Dim, grid: GridDims): boolean {
  return terms(dim).every((term) => isInt(term) || isPatchRow(term, grid))
}

/** The axes of a tensor that are the grid's rows and its columns; -1 for both where they do not stand apart. */
export function gridAxes(dims: readonly Dim[], { rows, cols }: GridDims): readonly [number, number] {
  const find = (wanted: Dim) => dims.findIndex((dim) => layoutKey(dim) === layoutKey(wanted))
  const at = [find(rows), find(cols)] as const
  return at[0] < 0 || at[1] < 0 ? [-1, -1] : at
}

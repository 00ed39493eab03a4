import { type Size, sizeText } from '../runtime/image.ts'
import type { Grid } from './padded.ts'

/** Assumed where neither graph shows a native grid. */
const USUAL: Grid = { rows: 4, cols: 4 }

/**
 * Images that between them show what goes wrong with sizes: native, wide, tall, one patch, larger than native. Whole patches all.
 * @param native the grid of the model's own position table, where it is known
 */
export function defaultSizes(patch: Size, native: Grid | null): Size[] {
  const { rows, cols } = native ?? USUAL
  const grids: Grid[] = [
    { rows, cols },
    { rows: Math.ceil(rows / 2), cols: cols + 1 },
    { rows: rows + 1, cols: Math.ceil(cols / 3) },
    { rows: 1, cols: 1 },
    { rows: rows + 2, cols: cols + 1 },
  ]
  const sizes = grids.map((grid) => ({ height: grid.rows * patch.height, width: grid.cols * patch.width }))
  return distinct(sizes)
}

/** Each size once. */
export function distinct(sizes: readonly Size[]): Size[] {
  return [...new Map(sizes.map((size) => [sizeText(size), size])).values()]
}

/** The least canvas of whole patches on which every size fits, and some patches more. */
export function canvasOver(sizes: readonly Size[], patch: Size, extra: number): Size {
  const over = (lengths: number[], length: number): number =>
    (Math.ceil(Math.max(...lengths) / length) + extra) * length
  return {
    height: over(
      sizes.map(({ height }) => height),
      patch.height,
    ),
    width: over(
      sizes.map(({ width }) => width),
      patch.width,
    ),
  }
}

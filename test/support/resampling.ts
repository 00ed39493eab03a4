import type { ResizeKind } from '../../src/analysis/resize-kind.ts'

/**
 * The matrix of a one-dimensional resize from `input` to `output` samples, [output][input], computed sample by sample as PyTorch's CPU
 * kernels do it: taps around a source index, their coefficients, indices clamped or cut at the edges. `offset` is added to the output
 * length before the scale is taken.
 */
export function resampling(kind: ResizeKind, input: number, output: number, offset = 0): Float64Array[] {
  const scale = input / (output + offset)
  return Array.from({ length: output }, (_, i) => {
    const row = new Float64Array(input)
    const add = (index: number, weight: number): void => {
      row[index] = (row[index] ?? 0) + weight
    }
    if (kind === 'cubic-corners') cubicTaps(output === 1 ? 0 : (i * (input - 1)) / (output - 1), input, add)
    else if (kind === 'cubic') cubicTaps(scale * (i + 0.5) - 0.5, input, add)
    else if (kind === 'bilinear') linearTaps(Math.max(0, scale * (i + 0.5) - 0.5), input, add)
    else antialiasedTaps(kind, scale, i, input, add)
    return row
  })
}

type Add = (index: number, weight: number) => void

/** Four taps with Keys' coefficients for a = -0.75; what lies outside is the edge. */
function cubicTaps(source: number, input: number, add: Add): void {
  const a = -0.75
  const first = Math.floor(source)
  const t = source - first
  const near = (x: number) => ((a + 2) * x - (a + 3)) * x * x + 1
  const far = (x: number) => ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
  const taps = [far(t + 1), near(t), near(1 - t), far(2 - t)]
  for (const [k, weight] of taps.entries()) add(Math.min(input - 1, Math.max(0, first - 1 + k)), weight)
}

/** Two taps; the second is the first at the far edge. */
function linearTaps(source: number, input: number, add: Add): void {
  const first = Math.min(Math.floor(source), input - 1)
  const t = Math.min(source - first, 1)
  add(first, 1 - t)
  add(first < input - 1 ? first + 1 : first, t)
}

/** All taps inside the stretched kernel's support and inside the table, made to sum to 1. */
function antialiasedTaps(kind: ResizeKind, scale: number, i: number, input: number, add: Add): void {
  const reach = kind === 'aa-cubic' ? 2 : 1
  const support = scale >= 1 ? reach * scale : reach
  const centre = scale * (i + 0.5)
  const from = Math.max(Math.trunc(centre - support + 0.5), 0)
  const to = Math.min(Math.trunc(centre + support + 0.5), input)
  const shrink = scale >= 1 ? 1 / scale : 1
  const filter = kind === 'aa-cubic' ? softCubic : (x: number) => Math.max(0, 1 - Math.abs(x))
  const taps = Array.from({ length: to - from }, (_, j) => filter((j + from - centre + 0.5) * shrink))
  const total = taps.reduce((sum, tap) => sum + tap, 0)
  for (const [j, tap] of taps.entries()) add(from + j, tap / total)
}

/** The cubic filter of image libraries, a = -0.5. */
function softCubic(signed: number): number {
  const a = -0.5
  const x = Math.abs(signed)
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
}

/** A table [rows, cols, hidden] on another grid, by rows and then by columns. Libraries that add an offset skip the native grid. */
export function resizeTable(
  kind: ResizeKind,
  table: { readonly data: ArrayLike<number>; readonly dims: readonly number[] },
  target: { readonly rows: number; readonly cols: number },
  offset = 0,
): Float64Array {
  const [rows = 1, cols = 1, hidden = 1] = table.dims
  const added = rows === target.rows && cols === target.cols ? 0 : offset
  const byRow = resampling(kind, rows, target.rows, added)
  const byCol = resampling(kind, cols, target.cols, added)
  const result = new Float64Array(target.rows * target.cols * hidden)
  for (const [r, rowTaps] of byRow.entries()) {
    for (const [c, colTaps] of byCol.entries()) {
      for (const [i, a] of rowTaps.entries()) {
        if (a === 0) continue
        for (const [j, b] of colTaps.entries()) {
          if (b === 0) continue
          for (let d = 0; d < hidden; d += 1) {
            const at = (r * target.cols + c) * hidden + d
            result[at] = (result[at] ?? 0) + a * b * (table.data[(i * cols + j) * hidden + d] ?? 0)
          }
        }
      }
    }
  }
  return result
}

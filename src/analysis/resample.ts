import type { ResizeKind } from './resize-kind.ts'
import type { Dense } from './strided.ts'

/** A table [rows, cols, hidden] resized to another grid, beforehand: what a library's interpolation makes of it. */
export function resampled(
  table: Dense,
  target: { readonly rows: number; readonly cols: number },
  { kind, offset }: { readonly kind: ResizeKind; readonly offset: number },
): Float64Array {
  const [rows = 1, cols = 1, hidden = 1] = table.dims
  const added = rows === target.rows && cols === target.cols ? 0 : offset
  const byRow = axisWeights(kind, rows, target.rows, added)
  const byCol = axisWeights(kind, cols, target.cols, added)
  const wide = cols * hidden
  const result = new Float64Array(target.rows * target.cols * hidden)
  const line = new Float64Array(wide)
  for (const [r, weights] of byRow.entries()) {
    line.fill(0)
    for (const [i, weight] of weights) {
      for (let at = 0; at < wide; at += 1) line[at] = (line[at] ?? 0) + weight * (table.data[i * wide + at] ?? 0)
    }
    for (const [c, others] of byCol.entries()) {
      const to = (r * target.cols + c) * hidden
      for (const [j, weight] of others) {
        for (let d = 0; d < hidden; d += 1)
          result[to + d] = (result[to + d] ?? 0) + weight * (line[j * hidden + d] ?? 0)
      }
    }
  }
  return result
}

type Weights = ReadonlyMap<number, number>

/** What each entry of an axis contributes to each position of another; the formulas are told at `resizeWeights`. */
function axisWeights(kind: ResizeKind, native: number, length: number, offset: number): Weights[] {
  const scale = native / (length + offset)
  return Array.from({ length }, (_, i): Weights => {
    const weights = new Map<number, number>()
    const add = (entry: number, weight: number) => {
      const at = Math.min(native - 1, Math.max(0, entry))
      if (weight !== 0) weights.set(at, (weights.get(at) ?? 0) + weight)
    }
    const centre = (i + 0.5) * scale
    if (kind === 'cubic' || kind === 'cubic-corners') {
      const source = kind === 'cubic' ? centre - 0.5 : (i * (native - 1)) / Math.max(1, length - 1)
      const first = Math.floor(source)
      for (let j = first - 1; j <= first + 2; j += 1) add(j, keys(Math.abs(source - j), -0.75))
      return weights
    }
    if (kind === 'bilinear') {
      const source = Math.min(native - 1, Math.max(0, centre - 0.5))
      for (const j of [Math.floor(source), Math.floor(source) + 1]) add(j, triangle(Math.abs(source - j)))
      return weights
    }
    const stretch = Math.max(1, scale)
    const kernel = (x: number) => (kind === 'aa-cubic' ? keys(x, -0.5) : triangle(x))
    const all = Array.from({ length: native }, (_, j) => kernel(Math.abs(centre - j - 0.5) / stretch))
    const total = all.reduce((sum, weight) => sum + weight, 0)
    for (const [j, weight] of all.entries()) add(j, weight / total)
    return weights
  })
}

function keys(x: number, a: number): number {
  if (x >= 2) return 0
  return x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
}

function triangle(x: number): number {
  return Math.max(0, 1 - x)
}

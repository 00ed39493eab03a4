import type { Dense } from '../analysis/evaluate.ts'
import type { PositionTable, ResizeKind } from '../analysis/positions.ts'
import { floatTensor } from '../ir/tensor-data.ts'
import type { Value } from '../ir/value.ts'
import type { Builder } from '../ops/builder.ts'
import { resizeWeights, tableMargin } from './position-weights.ts'
import type { Validity } from './validity.ts'

/** How a table is to be resized. */
export interface ResizeRule {
  readonly kind: ResizeKind
  /** Added to the length of both axes before the scale is taken: 0, or 0.1 as older libraries did. */
  readonly offset: number
}

/**
 * Position embeddings of every image on its own tight grid, laid over the padded grid and 0 elsewhere: [batch, prefix + rows * cols,
 * hidden] in float. A resize is separable, so that for each image two matrix products with the table do it, whatever its size.
 */
export function positionsOnTightGrids(
  builder: Builder,
  validity: Validity,
  table: PositionTable,
  rule: ResizeRule,
): Value {
  const [nativeRows = 1, nativeCols = 1, hidden = 1] = table.table.dims
  const rows = builder.cast(validity.rows, { to: 'float' })
  const cols = builder.cast(validity.cols, { to: 'float' })
  const offset = rule.offset === 0 ? null : offsetUnlessNative(builder, rows, cols, nativeRows, nativeCols, rule.offset)
  const along = (native: number, length: Value, index: Value): Value =>
    resizeWeights(builder, { kind: rule.kind, native, length, index, offset })
  const rowWeights = along(nativeRows, rows, builder.cast(validity.rowIndex, { to: 'float' }))
  const colWeights = along(nativeCols, cols, builder.cast(validity.colIndex, { to: 'float' }))
  const margin = tableMargin(rule.kind)
  const wide = nativeCols + 2 * margin
  const stored = builder.constant(
    floatTensor([nativeRows + 2 * margin, wide * hidden], edgePadded(table.table, margin)),
  )
  const byRow = builder.reshape(builder.matMul(rowWeights, stored), builder.int64([0, 0, wide, hidden]))
  const onGrid = builder.matMul(builder.unsqueeze(colWeights, { axes: [1] }), byRow)
  const patches = builder.reshape(onGrid, builder.int64([0, -1, hidden]))
  const [prefixCount = 0] = table.prefix.dims
  if (prefixCount === 0) return patches
  const batch = builder.shape(validity.rows)
  const prefix = builder.constant(floatTensor([1, prefixCount, hidden], table.prefix.data))
  const repeated = builder.expand(prefix, builder.concat([batch, builder.int64([1, 1])], { axis: 0 }))
  return builder.concat([repeated, patches], { axis: 1 })
}

/** Libraries that add 0.1 skip the resize where both lengths are native, and only there. */
function offsetUnlessNative(
  builder: Builder,
  rows: Value,
  cols: Value,
  nativeRows: number,
  nativeCols: number,
  offset: number,
): Value {
  const same = (length: Value, native: number) => {
    const away = builder.abs(builder.sub(length, builder.float(native)))
    return builder.less(away, builder.float(0.5))
  }
  const native = builder.and(same(rows, nativeRows), same(cols, nativeCols))
  return builder.where(native, builder.float(0), builder.float(offset))
}

/** The table with its edge repeated `margin` times on every side: [rows + 2 margin, cols + 2 margin, hidden]. */
function edgePadded(table: Dense, margin: number): Float32Array {
  const [rows = 1, cols = 1, hidden = 1] = table.dims
  const wide = cols + 2 * margin
  const padded = new Float32Array((rows + 2 * margin) * wide * hidden)
  const clamp = (i: number, n: number) => Math.min(n - 1, Math.max(0, i - margin))
  for (let r = 0; r < rows + 2 * margin; r += 1) {
    for (let c = 0; c < wide; c += 1) {
      const from = (clamp(r, rows) * cols + clamp(c, cols)) * hidden
      padded.set(table.data.subarray(from, from + hidden), (r * wide + c) * hidden)
    }
  }
  return padded
}

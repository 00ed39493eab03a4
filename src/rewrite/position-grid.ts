import type { Dense } from '../analysis/evaluate.ts'
import type { PositionTable } from '../analysis/positions.ts'
import type { ResizeKind } from '../analysis/resize-kind.ts'
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
 * A position table resized to every image's own tight grid, laid over the padded grid and 0 elsewhere: [batch, rows * cols, hidden] in
 * float. A resize is separable, so that for each image two matrix products with the table do it, whatever its size.
 */
export function tableOnTightGrids(builder: Builder, validity: Validity, table: PositionTable, rule: ResizeRule): Value {
  const [nativeRows = 1, nativeCols = 1, hidden = 1] = table.table.dims
  const [rowWeights, colWeights] = axisWeights(builder, validity, [nativeRows, nativeCols], rule)
  const margin = tableMargin(rule.kind)
  const wide = nativeCols + 2 * margin
  const stored = builder.constant(
    floatTensor([nativeRows + 2 * margin, wide * hidden], edgePadded(table.table, margin)),
  )
  const byRow = builder.reshape(builder.matMul(rowWeights, stored), builder.int64([0, 0, wide, hidden]))
  const onGrid = builder.matMul(builder.unsqueeze(colWeights, { axes: [1] }), byRow)
  return builder.reshape(onGrid, builder.int64([0, -1, hidden]))
}

/**
 * Weights along rows [batch, rows, native] and columns [batch, cols, native]. Where the native grid is square both come from one
 * computation over the positions of rows and columns laid end to end: half the operators.
 */
function axisWeights(
  builder: Builder,
  validity: Validity,
  native: readonly [number, number],
  { kind, offset }: ResizeRule,
): readonly [Value, Value] {
  const lengths = [validity.rows, validity.cols].map((length) =>
    builder.unsqueeze(builder.cast(length, { to: 'float' }), { axes: [1, 2] }),
  ) as [Value, Value]
  const indices = [validity.rowIndex, validity.colIndex].map((index) => builder.cast(index, { to: 'float' })) as [
    Value,
    Value,
  ]
  const added = offset === 0 ? null : offsetUnlessNative(builder, lengths, native, offset)
  // Split takes computed lengths from opset 13 on.
  if (native[0] !== native[1] || builder.opset < 13) {
    const along = (axis: 0 | 1) =>
      resizeWeights(builder, { kind, native: native[axis], length: lengths[axis], index: indices[axis], offset: added })
    return [along(0), along(1)]
  }
  const spread = (axis: 0 | 1) =>
    builder.add(lengths[axis], builder.unsqueeze(builder.mul(indices[axis], 0), { axes: [0, 2] }))
  const length = builder.concat([spread(0), spread(1)], { axis: 1 })
  const index = builder.concat(indices, { axis: 0 })
  const weights = resizeWeights(builder, { kind, native: native[0], length, index, offset: added })
  const split = builder.concat([builder.shape(validity.rowIndex), builder.shape(validity.colIndex)], { axis: 0 })
  return builder.split(weights, { axis: 1, split, outputs: 2 }) as [Value, Value]
}

/** Libraries that add 0.1 skip the resize where both lengths are native, and only there. */
function offsetUnlessNative(
  builder: Builder,
  [rows, cols]: readonly [Value, Value],
  native: readonly [number, number],
  offset: number,
): Value {
  const same = (length: Value, wanted: number) => builder.less(builder.abs(builder.sub(length, wanted)), 0.5)
  const isNative = builder.and(same(rows, native[0]), same(cols, native[1]))
  return builder.where(isNative, builder.float(0), builder.float(offset))
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

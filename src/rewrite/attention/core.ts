import type { FloatType } from '../../ir/dtype.ts'
import type { Value } from '../../ir/value.ts'
import type { Builder } from '../../ops/builder.ts'

/** What every fused attention comes down to. */
export interface AttentionCore {
  /** [batch, heads, query, headDim] */
  readonly query: Value
  /** [batch, heads, key, headDim] */
  readonly key: Value
  /** [batch, heads, key, valueDim] */
  readonly value: Value
  readonly scale: number
  /** Added to the scores [batch, heads, query, key], broadcast. */
  readonly bias: Value | null
  readonly dtype: FloatType
}

/** `softmax(scale * query . key^T + bias) . value`: [batch, heads, query, valueDim]. */
export function attend(builder: Builder, core: AttentionCore): Value {
  const keys = builder.transpose(core.key, { perm: [0, 1, 3, 2] })
  const products = builder.matMul(core.query, keys)
  const scaled = core.scale === 1 ? products : builder.mul(products, builder.float(core.scale, core.dtype))
  const scores = core.bias === null ? scaled : builder.add(scaled, core.bias)
  return builder.matMul(builder.softmax(scores, { axis: -1 }), core.value)
}

/** [batch, tokens, heads * dim] to [batch, heads, tokens, dim]. */
export function splitHeads(builder: Builder, packed: Value, heads: number, dim: number): Value {
  return builder.transpose(builder.reshape(packed, builder.int64([0, 0, heads, dim])), { perm: [0, 2, 1, 3] })
}

/** [batch, heads, tokens, dim] to [batch, tokens, heads * dim]. */
export function mergeHeads(builder: Builder, split: Value, width: number): Value {
  return builder.reshape(builder.transpose(split, { perm: [0, 2, 1, 3] }), builder.int64([0, 0, width]))
}

/** Repeats each key or value head for the query heads of its group: [batch, groups, key, dim] to [batch, groups * size, key, dim]. */
export function repeatHeads(builder: Builder, grouped: Value, groups: number, size: number, dim: number): Value {
  if (size === 1) return grouped
  const each = builder.tile(builder.unsqueeze(grouped, { axes: [2] }), builder.int64([1, 1, size, 1, 1]))
  return builder.reshape(each, builder.int64([0, groups * size, -1, dim]))
}

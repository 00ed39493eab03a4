import type { FloatType } from '../../ir/dtype.ts'
import type { Value } from '../../ir/value.ts'
import type { Builder } from '../../ops/builder.ts'
import { MASKED } from '../validity.ts'

/** What every fused attention comes down to. */
export interface AttentionCore {
  /** [batch, heads, query, headDim] */
  readonly query: Value
  /** [batch, heads, key, headDim] */
  readonly key: Value
  /** [batch, heads, key, valueDim] */
  readonly value: Value
  readonly scale: number
  /** Scores are bent to `softcap * tanh(score / softcap)` before the bias; 0 for no such cap. */
  readonly softcap?: number
  /** Over the scores [batch, heads, query, key], broadcast. */
  readonly mask: AttentionMask | null
  readonly dtype: FloatType
}

/** What is added to scores, or a bool for each of them that says whether the key is to be seen. */
export interface AttentionMask {
  readonly value: Value
  readonly isBool: boolean
}

/**
 * `softmax(cap(scale * query . key^T) + mask) . value`: [batch, heads, query, valueDim]. A query that a bool mask hides every key from
 * gives 0, as the operators define it.
 */
export function attend(builder: Builder, core: AttentionCore): Value {
  const { mask, dtype } = core
  const keys = builder.transpose(core.key, { perm: [0, 1, 3, 2] })
  const products = builder.matMul(core.query, keys)
  const scaled = core.scale === 1 ? products : builder.mul(products, builder.float(core.scale, dtype))
  const scores = capped(builder, scaled, core)
  if (mask === null) return builder.matMul(builder.softmax(scores, { axis: -1 }), core.value)
  if (!mask.isBool) return builder.matMul(builder.softmax(builder.add(scores, mask.value), { axis: -1 }), core.value)
  const none = builder.float(0, dtype)
  const hidden = builder.where(mask.value, none, builder.float(MASKED[dtype], dtype))
  const weights = builder.softmax(builder.add(scores, hidden), { axis: -1 })
  return builder.matMul(builder.where(mask.value, weights, none), core.value)
}

function capped(builder: Builder, scores: Value, { softcap = 0, dtype }: AttentionCore): Value {
  if (softcap === 0) return scores
  const cap = builder.float(softcap, dtype)
  return builder.mul(builder.tanh(builder.div(scores, cap)), cap)
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

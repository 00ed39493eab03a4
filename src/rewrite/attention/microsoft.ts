import type { Facts } from '../../analysis/facts.ts'
import type { Dim } from '../../ir/dim.ts'
import type { FloatType } from '../../ir/dtype.ts'
import type { Node } from '../../ir/node.ts'
import type { Value } from '../../ir/value.ts'
import type { Builder } from '../../ops/builder.ts'
import { isEverywhere, type RuleContext } from '../engine.ts'
import { type AttentionMask, attend, mergeHeads, splitHeads } from './core.ts'
import {
  fixedLength,
  floatType,
  type Lowering,
  type LoweringRule,
  readsOtherOutputs,
  spansKeys,
  unknownAttribute,
  usefulMask,
} from './lowering.ts'

function isMicrosoft(node: Node, opType: string): boolean {
  return node.domain === 'com.microsoft' && node.opType === opType
}

/** True where a mask over keys is there and hides none: all of it is 1 or more, in [batch, key]. */
function hidesNoKey(mask: Value | null, context: RuleContext): boolean {
  if (mask === null) return true
  return context.facts.dims(mask)?.length === 2 && isEverywhere(mask, (n) => n > 0, context)
}

/**
 * com.microsoft MultiHeadAttention: query [batch, query, heads * dim], key and value [batch, key, heads * dim], an optional bias over
 * all three, and an additive `attention_bias`. Or packed: query, key and value as [batch, tokens, heads, 3, dim], or key and value as
 * [batch, key, heads, 2, dim]; or key and value split into heads already, [batch, heads, key, dim].
 */
export const multiHeadAttention: LoweringRule = (node, context): Lowering | null => {
  if (!isMicrosoft(node, 'MultiHeadAttention')) return null
  const { facts, graph } = context
  const [query, projection] = [node.input(0), node.input(3)]
  const heads = node.int('num_heads')
  const dtype = floatType(query, facts)
  const fail = (reason: string) => ({ reason })
  if (query === null || dtype === null || heads === undefined) return fail('its operands are not known floats')
  const shapes = [0, 1, 2].map((slot) => facts.dims(node.input(slot)))
  if (shapes.some((dims, slot) => node.input(slot) !== null && dims === null))
    return fail('the shape of its operands is not known')
  const split = splitOperands(node, heads, facts)
  if (split === null) return fail('its operands are laid out in a way that is not known')
  if (projection !== null && split.form !== 'plain')
    return fail('it packs query, key and value and adds a bias to them')
  if (!hidesNoKey(node.input(4), context)) return fail('it has a key padding mask of its own')
  if (node.inputs.slice(6).some((input) => input !== null)) return fail('it takes past keys and values')
  if (node.int('unidirectional', 0) !== 0) return fail('it is causal')
  const unknown = unknownAttribute(node, ['num_heads', 'scale', 'unidirectional', 'mask_filter_value'])
  if (unknown !== null) return fail(`it has an attribute ${unknown} that is not known`)
  if (readsOtherOutputs(node, graph.outputs)) return fail('its present keys or its scores are read')
  const { dim, valueDim } = split
  if (!spansKeys(node.input(5), split.keys, facts)) return fail('its mask does not span its keys')
  const mask = usefulMask(node.input(5), context)
  const build = (builder: Builder): Value => {
    const [width, valueWidth] = [heads * dim, heads * valueDim]
    const parts = projection === null ? null : builder.split(projection, { split: [width, width, valueWidth], axis: 0 })
    const add = (x: Value, i: number) => (parts?.[i] === undefined ? x : builder.add(x, parts[i]))
    const [q, k, v] = split.build(builder, add)
    return merged(builder, { query: q, key: k, value: v }, { dim, valueWidth, dtype, node, mask })
  }
  return { build }
}

/** Query, key and value in heads, [batch, heads, tokens, dim], whatever form a node takes them in. */
interface SplitOperands {
  readonly form: 'plain' | 'packed'
  readonly dim: number
  readonly valueDim: number
  /** The axis of keys. */
  readonly keys: Dim | undefined
  readonly build: (builder: Builder, add: (x: Value, part: number) => Value) => readonly [Value, Value, Value]
}

function splitOperands(node: Node, heads: number, facts: Facts): SplitOperands | null {
  const [query, key, value] = [node.input(0), node.input(1), node.input(2)]
  const [q, k, v] = [query, key, value].map((operand) => facts.dims(operand))
  const last = (operand: Value | null) => fixedLength(operand, -1, facts)
  if (query === null) return null
  const turn = (builder: Builder, x: Value) => builder.transpose(x, { perm: [0, 2, 1, 3] })
  /** Parts of [batch, tokens, heads, count, dim], each [batch, heads, tokens, dim]. */
  const unpack = (builder: Builder, packed: Value, count: number) =>
    builder
      .split(packed, { split: Array.from({ length: count }, () => 1), axis: 3 })
      .map((part) => turn(builder, builder.squeeze(part, { axes: [3] })))
  if (q?.length === 5 && key === null && value === null) {
    const dim = last(query)
    if (dim === null || fixedLength(query, 3, facts) !== 3) return null
    const build = (builder: Builder) => unpack(builder, query, 3) as unknown as readonly [Value, Value, Value]
    return { form: 'packed', dim, valueDim: dim, keys: q[1], build }
  }
  const width = last(query)
  if (q?.length !== 3 || width === null || key === null) return null
  const dim = width / heads
  const inHeads = (builder: Builder, x: Value, each: number) => splitHeads(builder, x, heads, each)
  if (k?.length === 5 && value === null) {
    if (last(key) !== dim || fixedLength(key, 3, facts) !== 2) return null
    const build = (builder: Builder): readonly [Value, Value, Value] => {
      const [keys, values] = unpack(builder, key, 2) as [Value, Value]
      return [inHeads(builder, query, dim), keys, values]
    }
    return { form: 'packed', dim, valueDim: dim, keys: k[1], build }
  }
  const valueWidth = last(value)
  if (value === null || valueWidth === null) return null
  if (k?.length === 4 && v?.length === 4) {
    const build = (builder: Builder) => [inHeads(builder, query, dim), key, value] as const
    return { form: 'packed', dim, valueDim: valueWidth, keys: k[2], build }
  }
  if (k?.length !== 3 || v?.length !== 3) return null
  const valueDim = valueWidth / heads
  const build: SplitOperands['build'] = (builder, add) => [
    inHeads(builder, add(query, 0), dim),
    inHeads(builder, add(key, 1), dim),
    inHeads(builder, add(value, 2), valueDim),
  ]
  return { form: 'plain', dim, valueDim, keys: k[1], build }
}

const PACKED_ATTRIBUTES = [
  ...['num_heads', 'scale', 'unidirectional', 'qkv_hidden_sizes', 'mask_filter_value', 'do_rotary'],
  ...['rotary_embedding_dim', 'past_present_share_buffer'],
]

/** com.microsoft Attention: input [batch, tokens, in] projected by weights [in, query + key + value] and a bias. */
export const packedAttention: LoweringRule = (node, context): Lowering | null => {
  if (!isMicrosoft(node, 'Attention')) return null
  const { facts, graph } = context
  const [input, weights, projection] = [node.input(0), node.input(1), node.input(2)]
  const heads = node.int('num_heads')
  const dtype = floatType(input, facts)
  const total = fixedLength(weights, -1, facts)
  const fail = (reason: string) => ({ reason })
  if (input === null || weights === null || dtype === null || heads === undefined || total === null) {
    return fail('its operands are not known floats')
  }
  if (!hidesNoKey(node.input(3), context)) return fail('it has a mask index of its own')
  if (node.input(4) !== null || node.input(6) !== null) return fail('it takes past keys and values')
  if (node.int('unidirectional', 0) !== 0) return fail('it is causal')
  if (node.int('do_rotary', 0) !== 0) return fail('it rotates queries and keys by text positions')
  const unknown = unknownAttribute(node, PACKED_ATTRIBUTES)
  if (unknown !== null) return fail(`it has an attribute ${unknown} that is not known`)
  if (readsOtherOutputs(node, graph.outputs)) return fail('its present keys and values are read')
  if (!spansKeys(node.input(5), facts.dims(input)?.[1], facts)) return fail('its mask does not span its keys')
  const [width = total / 3, keyWidth = total / 3, valueWidth = total / 3] = node.ints('qkv_hidden_sizes') ?? []
  const mask = usefulMask(node.input(5), context)
  const build = (builder: Builder): Value => {
    const product = builder.matMul(input, weights)
    const projected = projection === null ? product : builder.add(product, projection)
    const [query, key, value] = builder.split(projected, { split: [width, keyWidth, valueWidth], axis: -1 }) as [
      Value,
      Value,
      Value,
    ]
    const [dim, valueDim] = [width / heads, valueWidth / heads]
    const split = {
      query: splitHeads(builder, query, heads, dim),
      key: splitHeads(builder, key, heads, dim),
      value: splitHeads(builder, value, heads, valueDim),
    }
    return merged(builder, split, { dim, valueWidth, dtype, node, mask })
  }
  return { build }
}

interface Heads {
  readonly dim: number
  readonly valueWidth: number
  readonly dtype: FloatType
  readonly node: Node
  readonly mask: AttentionMask | null
}

/** Attention of operands in heads, put together to [batch, query, heads * valueDim]. */
function merged(builder: Builder, split: { query: Value; key: Value; value: Value }, about: Heads): Value {
  const { dim, valueWidth, dtype, node, mask } = about
  const given = node.float('scale', 0)
  const scale = given === 0 ? 1 / Math.sqrt(dim) : given
  const output = attend(builder, { ...split, scale, mask, dtype })
  return mergeHeads(builder, output, valueWidth)
}

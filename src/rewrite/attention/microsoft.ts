import type { FloatType } from '../../ir/dtype.ts'
import type { Node } from '../../ir/node.ts'
import type { Value } from '../../ir/value.ts'
import type { Builder } from '../../ops/builder.ts'
import { attend, mergeHeads, splitHeads } from './core.ts'
import { fixedLength, floatType, type Lowering, type LoweringRule, maskBias, readsOtherOutputs } from './lowering.ts'

function isMicrosoft(node: Node, opType: string): boolean {
  return node.domain === 'com.microsoft' && node.opType === opType
}

/**
 * com.microsoft MultiHeadAttention: query [batch, query, heads * dim], key and value [batch, key, heads * dim], an optional bias over
 * all three, and an additive `attention_bias`.
 */
export const multiHeadAttention: LoweringRule = (node, context): Lowering | null => {
  if (!isMicrosoft(node, 'MultiHeadAttention')) return null
  const { facts, graph } = context
  const [query, key, value, projection] = [node.input(0), node.input(1), node.input(2), node.input(3)]
  const heads = node.int('num_heads')
  const dtype = floatType(query, facts)
  const [width, valueWidth] = [fixedLength(query, -1, facts), fixedLength(value, -1, facts)]
  const fail = (reason: string) => ({ reason })
  if (query === null || dtype === null || heads === undefined) return fail('its operands are not known floats')
  if (key === null || value === null || [query, key, value].some((x) => facts.dims(x)?.length !== 3)) {
    return fail('it packs query, key and value together')
  }
  if (node.input(4) !== null) return fail('it has a key padding mask of its own')
  if (node.inputs.slice(6).some((input) => input !== null)) return fail('it takes past keys and values')
  if (node.int('unidirectional', 0) !== 0) return fail('it is causal')
  if (readsOtherOutputs(node, graph.outputs)) return fail('its present keys or its scores are read')
  if (width === null || valueWidth === null) return fail('its widths are not plain numbers')
  const bias = maskBias(node.input(5), dtype, context)
  const build = (builder: Builder): Value => {
    const parts = projection === null ? null : builder.split(projection, { split: [width, width, valueWidth], axis: 0 })
    const add = (x: Value, i: number) => (parts?.[i] === undefined ? x : builder.add(x, parts[i]))
    return merged(
      builder,
      { query: add(query, 0), key: add(key, 1), value: add(value, 2) },
      { heads, width, valueWidth, dtype, node, bias },
    )
  }
  return { build }
}

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
  if (node.input(3) !== null) return fail('it has a mask index of its own')
  if (node.input(4) !== null || node.input(6) !== null) return fail('it takes past keys and values')
  if (node.int('unidirectional', 0) !== 0) return fail('it is causal')
  if (node.int('do_rotary', 0) !== 0) return fail('it rotates queries and keys by text positions')
  if (readsOtherOutputs(node, graph.outputs)) return fail('its present keys and values are read')
  const [width = total / 3, keyWidth = total / 3, valueWidth = total / 3] = node.ints('qkv_hidden_sizes') ?? []
  const bias = maskBias(node.input(5), dtype, context)
  const build = (builder: Builder): Value => {
    const product = builder.matMul(input, weights)
    const projected = projection === null ? product : builder.add(product, projection)
    const [query, key, value] = builder.split(projected, { split: [width, keyWidth, valueWidth], axis: -1 }) as [
      Value,
      Value,
      Value,
    ]
    return merged(builder, { query, key, value }, { heads, width, valueWidth, dtype, node, bias })
  }
  return { build }
}

interface Heads {
  readonly heads: number
  readonly width: number
  readonly valueWidth: number
  readonly dtype: FloatType
  readonly node: Node
  readonly bias: ((builder: Builder) => Value) | null
}

function merged(builder: Builder, packed: { query: Value; key: Value; value: Value }, about: Heads): Value {
  const { heads, width, valueWidth, dtype, node, bias } = about
  const [dim, valueDim] = [width / heads, valueWidth / heads]
  const given = node.float('scale', 0)
  const output = attend(builder, {
    query: splitHeads(builder, packed.query, heads, dim),
    key: splitHeads(builder, packed.key, heads, dim),
    value: splitHeads(builder, packed.value, heads, valueDim),
    scale: given === 0 ? 1 / Math.sqrt(dim) : given,
    bias: bias === null ? null : bias(builder),
    dtype,
  })
  return mergeHeads(builder, output, valueWidth)
}

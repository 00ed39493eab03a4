import type { Value } from '../../ir/value.ts'
import type { Builder } from '../../ops/builder.ts'
import { attend, mergeHeads, repeatHeads, splitHeads } from './core.ts'
import {
  fixedLength,
  floatType,
  type LoweringRule,
  readsOtherOutputs,
  spansKeys,
  unknownAttribute,
  usefulMask,
} from './lowering.ts'

const KNOWN = [
  ...['is_causal', 'kv_num_heads', 'q_num_heads', 'qk_matmul_output_mode', 'scale', 'softcap', 'softmax_precision'],
  ...['left_window_size', 'right_window_size'],
]

/**
 * ai.onnx Attention of opset 23 and 24: query, key and value as [batch, heads, tokens, dim], or as [batch, tokens, heads * dim] with the
 * head counts as attributes; `scale` defaults to 1/sqrt(dim); grouped heads share keys and values; `softcap` bends scores that have no mask.
 */
export const onnxAttention: LoweringRule = (node, context) => {
  if (!node.is('Attention')) return null
  const { facts, graph } = context
  const [query, key, value] = [node.input(0), node.input(1), node.input(2)]
  const dtype = floatType(query, facts)
  const rank = facts.dims(query)?.length
  const fail = (reason: string) => ({ reason })
  if (query === null || key === null || value === null || dtype === null)
    return fail('its operands are not known floats')
  if (rank !== 3 && rank !== 4) return fail('the rank of its query is not known')
  if (node.int('is_causal', 0) !== 0) return fail('it is causal: a vision encoder sees all patches')
  const softcap = node.float('softcap', 0)
  if (softcap !== 0 && node.input(3) !== null) {
    return fail('it caps its scores (softcap) and has a mask, and versions of the operator differ in which comes first')
  }
  if (['left_window_size', 'right_window_size'].some((name) => node.int(name, -1) >= 0)) {
    return fail('it sees a window of tokens in a row, which is another at another size')
  }
  const unknown = unknownAttribute(node, KNOWN)
  if (unknown !== null) return fail(`it has an attribute ${unknown} that is not known`)
  if (node.input(4) !== null || node.input(5) !== null) return fail('it takes past keys and values')
  if (node.input(6) !== null) return fail('it takes key lengths (nonpad_kv_seqlen) of its own')
  if (readsOtherOutputs(node, graph.outputs)) return fail('its present keys or its scores are read')
  const split = rank === 4
  const heads = split ? fixedLength(query, 1, facts) : (node.int('q_num_heads') ?? null)
  const groups = split ? fixedLength(key, 1, facts) : (node.int('kv_num_heads') ?? null)
  const [queryWidth, valueWidth] = [fixedLength(query, -1, facts), fixedLength(value, -1, facts)]
  if (heads === null || groups === null || queryWidth === null || valueWidth === null || heads % groups !== 0) {
    return fail('its head counts or widths are not plain numbers')
  }
  const dim = split ? queryWidth : queryWidth / heads
  const valueDim = split ? valueWidth : valueWidth / groups
  if (!spansKeys(node.input(3), facts.dims(key)?.at(-2), facts)) return fail('its mask does not span its keys')
  const mask = usefulMask(node.input(3), context)
  const build = (builder: Builder): Value => {
    const inHeads = (x: Value, count: number, width: number) => (split ? x : splitHeads(builder, x, count, width))
    const output = attend(builder, {
      query: inHeads(query, heads, dim),
      key: repeatHeads(builder, inHeads(key, groups, dim), groups, heads / groups, dim),
      value: repeatHeads(builder, inHeads(value, groups, valueDim), groups, heads / groups, valueDim),
      scale: node.float('scale') ?? 1 / Math.sqrt(dim),
      softcap,
      mask,
      dtype,
    })
    return split ? output : mergeHeads(builder, output, heads * valueDim)
  }
  return { build }
}

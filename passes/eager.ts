import { trace } from '../src/analysis/trace.ts'
import { tidy } from '../src/ir/edit.ts'
import type { Node } from '../src/ir/node.ts'
import type { Pass, Refusal } from '../src/pipeline/pass.ts'
import type { Lowering, LoweringRule } from '../src/rewrite/attention/lowering.ts'
import { multiHeadAttention, packedAttention } from '../src/rewrite/attention/microsoft.ts'
import { onnxAttention } from '../src/rewrite/attention/onnx.ts'
import { builderFor } from '../src/rewrite/builder-for.ts'
import { applyRules } from '../src/rewrite/engine.ts'
import { keyBias } from '../src/rewrite/rules/key-bias.ts'

const RULES: readonly LoweringRule[] = [onnxAttention, multiHeadAttention, packedAttention]

/**
 * Writes fused attention in the operators it is made of: matrix product, scale, bias, softmax, matrix product, so that a mask can
 * be added before the softmax. Reads ai.onnx Attention (opset 23 and 24) and com.microsoft Attention and MultiHeadAttention. Refuses
 * what has no exact form here: causal or capped scores, past keys, masks by length.
 */
export const eager: Pass = {
  name: 'eager',
  version: 1,
  summary: 'lowers fused attention to MatMul, scale, Softmax, MatMul',
  options: {},
  requires: ['canonical'],
  run(model) {
    const traced = trace(model)
    const context = { graph: model.graph, opset: model.opset, facts: traced.facts }
    const found: { node: Node; lowering: Lowering }[] = []
    for (const node of model.graph.nodes) {
      for (const rule of RULES) {
        const lowering = rule(node, context)
        if (lowering !== null) found.push({ node, lowering })
      }
    }
    const refusals = found.flatMap(({ node, lowering }): Refusal[] =>
      'reason' in lowering ? [{ node, reason: `${node.opType} cannot be lowered: ${lowering.reason}` }] : [],
    )
    if (refusals.length > 0) return { status: 'refused', refusals }
    if (found.length === 0) return { status: 'nothing', notes: ['there is no fused attention'] }
    const builder = builderFor(model, traced, 'eager')
    for (const { node, lowering } of found) {
      const output = node.output(0)
      if ('build' in lowering && output !== null) model.graph.replaceUses(output, lowering.build(builder))
    }
    tidy(model.graph)
    // What a fused operator hid from the canonical rules.
    const opened = applyRules(model, [keyBias], () => ({ ...context, facts: trace(model).facts }))
    return { status: 'applied', sites: { attention: found.length, ...opened } }
  },
}

import { singleNumber } from '../../analysis/facts.ts'
import { matchGelu } from '../../analysis/gelu.ts'
import type { Rule } from '../engine.ts'

/**
 * Below opset 20 a Gelu by the error function that exporters group as `x * (0.5 * (1 + erf))` is grouped as `x * (1 + erf) * 0.5`: the
 * order in which ONNX Runtime recognises it and fuses it, with the bias before it, into one operator.
 */
export const fusableGelu: Rule = {
  name: 'gelu order',
  match(node, { facts, opset }) {
    const old = node.output(0)
    const found = opset >= 20 || old === null ? null : matchGelu(node, facts)
    if (found === null || old === null || found.approximate !== 'none') return null
    const last = node.inputs.some((value) => singleNumber(value, facts) === 0.5)
    if (last) return null
    const { input, gate } = found
    return { old, next: (builder) => builder.mul(builder.mul(input, gate), 0.5) }
  },
}

import { matchGelu } from '../../analysis/gelu.ts'
import type { Rule } from '../engine.ts'

/**
 * A Gelu that is written out, by the error function or by tanh, becomes one `Gelu`, where the opset has it (20). Below, it stays: ONNX
 * Runtime fuses it when it loads the model.
 */
export const gelu: Rule = {
  name: 'gelu',
  match(node, { facts, opset }) {
    const old = node.output(0)
    const found = opset < 20 || old === null ? null : matchGelu(node, facts)
    if (found === null || old === null) return null
    return { old, next: (builder) => builder.gelu(found.input, { approximate: found.approximate }) }
  },
}

import { matchLayerNorm } from '../../analysis/norms.ts'
import type { Rule } from '../engine.ts'

/**
 * A layer normalisation that is written out (ReduceMean, Sub, Pow, Sqrt, Div, Mul, Add) becomes one `LayerNormalization`, where
 * the opset has it (17). Below, it stays: ONNX Runtime fuses it when it loads the model.
 */
export const layerNorm: Rule = {
  name: 'layer norm',
  match(node, { facts, opset }) {
    const found = opset < 17 ? null : matchLayerNorm(node, facts)
    if (found === null) return null
    const { input, scale, bias, epsilon, output } = found
    return { old: output, next: (builder) => builder.layerNormalization(input, scale, { bias, axis: -1, epsilon }) }
  },
}

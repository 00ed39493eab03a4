import { describe, expect, it } from 'vitest'
import { int64Tensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import { renameGenerated } from '../../src/rewrite/generated-names.ts'
import { compute, feedsOf, largestDifference, type Sketch, sketch } from '../support/graphs.ts'

/** Two elements picked one by one, which ONNX Runtime fuses into Split and Squeeze, beside a constant of the given name. */
function pair(name: string): Sketch {
  return sketch(17, { x: ['batch', 2] }, (b, [x], graph) => {
    const taken = graph.addInitializer(name, int64Tensor([1], [0]))
    const picked = [0, 1].map((i) => b.gather(x as Value, b.int64(i), { axis: 1 }))
    return [b.add(picked[0] as Value, picked[1] as Value), b.unsqueeze(x as Value, { axes: taken })]
  })
}

describe('constants that ONNX Runtime has named', () => {
  it('keep it from fusing again, until they are renamed', async () => {
    await expect(compute(pair('squeeze_axes').model, feedsOf(pair('squeeze_axes')))).rejects.toThrow(
      'replace the existing tensor',
    )
    const [renamed, other] = [pair('squeeze_axes'), pair('axes')]
    expect(renameGenerated(renamed.model.graph)).toBe(1)
    const feeds = feedsOf(other)
    expect(largestDifference(await compute(renamed.model, feeds), await compute(other.model, feeds))).toBe(0)
  })

  it('are told by their number, and keep their name where a caller reads it', () => {
    const { model } = pair('gemm_input_shape_token_12')
    expect(renameGenerated(model.graph)).toBe(1)
    expect(model.graph.initializers.some(({ name }) => name === 'vitpass/gemm_input_shape')).toBe(true)
    expect(renameGenerated(model.graph)).toBe(0)

    const given = pair('squeeze_axes_token_3').model
    const input = given.graph.initializers.find(({ name }) => name === 'squeeze_axes_token_3')
    given.graph.addInput(input as Value)
    expect(renameGenerated(given.graph)).toBe(0)
    expect(renameGenerated(pair('axes').model.graph)).toBe(0)
  })
})

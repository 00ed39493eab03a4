import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import type { FloatType } from '../../src/ir/dtype.ts'
import type { Model } from '../../src/ir/model.ts'
import { floatTensor, readFloats } from '../../src/ir/tensor-data.ts'
import { Builder } from '../../src/ops/builder.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { resized } from '../support/drawn-positions.ts'
import { attend, drawVit, type Pen, paddedAgainstAlone, withClassToken } from '../support/drawn-vit.ts'

const SIZES = [
  { height: 8, width: 12 },
  { height: 16, width: 4 },
  { height: 4, width: 20 },
]

/** Keeps every float weight of two axes and more in another type, and casts it where it is used. */
function storedAs(model: Model, dtype: FloatType): Model {
  const { graph } = model
  const b = new Builder(graph, model.opset)
  for (const weight of [...graph.initializers]) {
    const { tensor } = weight
    if (tensor === null || tensor.dtype !== 'float' || tensor.dims.length < 2) continue
    const users = [...weight.users]
    const kept = b.constant(floatTensor(tensor.dims, readFloats(tensor), dtype))
    const read = b.cast(kept, { to: 'float' })
    for (const node of users) {
      for (const [slot, input] of node.inputs.entries()) if (input === weight) node.setInput(slot, read)
    }
  }
  graph.sort()
  return model
}

const draw = (pen: Pen) => {
  const { b } = pen
  const placed = b.add(pen.tokens, resized(pen, { rows: 4, cols: 4 }, 'cubic'))
  return [attend(b, withClassToken({ ...pen, tokens: placed }))]
}

describe.each(['bfloat16', 'float16'] as const)('weights kept in %s and computed with in float', (dtype) => {
  it('are as good as others', async () => {
    const make = () => storedAs(drawVit(draw, { opset: 18 }), dtype)
    const [original, transformed] = [make(), make()]
    expect(original.graph.initializers.filter(({ tensor }) => tensor?.dtype === dtype).length).toBeGreaterThan(4)
    const report = runPasses(registry, transformed, ['mask', 'posenc', 'zero'])
    expect(report.passes.map(({ status }) => status)).not.toContain('refused')
    const found = await paddedAgainstAlone({ original, transformed }, { y0: ['tokens', 'fixed'] }, SIZES, 1)
    expect(found.own).toBeLessThan(1e-5)
    expect(found.padding).toBe(0)
  })
})

it('says that a model in bfloat16 does not run on every device', () => {
  const model = drawVit(({ b, tokens }) => [b.cast(tokens, { to: 'float' })], {
    opset: 22,
    prepare: (b, pixels) => b.cast(pixels, { to: 'bfloat16' }),
    dtype: 'bfloat16',
  })
  const report = runPasses(registry, model, ['mask'])
  expect(report.passes.at(-1)?.notes).toContainEqual(expect.stringMatching(/bfloat16.*CPU/))
})

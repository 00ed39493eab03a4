import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import type { Model } from '../../src/ir/model.ts'
import { readModel } from '../../src/onnx/node.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import type { PassReport } from '../../src/pipeline/report.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { attend, drawVit, PATCH, WIDTH } from '../support/drawn-vit.ts'
import { allFixtures } from '../support/fixtures.ts'
import { compute, largestDifference, noise } from '../support/graphs.ts'
import { convolutionalModel, textModel } from '../support/other-models.ts'
import { refused } from '../support/refused.ts'

function canonical(model: Model): PassReport {
  return runPasses(registry, model, ['canonical']).passes.at(-1) ?? expect.fail('nothing ran')
}

function count(model: Model, ...ops: readonly string[]): number {
  return model.graph.nodes.filter((node) => node.is(...ops)).length
}

describe('every export reads alike afterwards', () => {
  it.each(allFixtures())('$name', async ({ path, entry }) => {
    const model = await readModel(path)
    const attention = count(model, 'Attention', 'Softmax')
    const report = canonical(model)
    expect(report.status).toBe('applied')
    expect(report.nodesAfter).toBe(model.graph.nodes.length)
    for (const sites of Object.values(report.sites)) expect(sites).toBeGreaterThan(0)
    expect(count(model, 'Constant', 'Identity', 'IsNaN', 'Dropout')).toBe(0)
    expect(count(model, 'Attention', 'Softmax')).toBe(attention)
    if (entry.opset >= 17) expect(count(model, 'ReduceMean')).toBe(0)
    if (entry.opset >= 20) expect(count(model, 'Erf')).toBe(0)
    expect(model.functions.filter((f) => model.graph.nodes.some((node) => node.opType === f.name))).toEqual([])
  })
})

describe('the shapes of a graph drawn by hand', () => {
  const draw = () =>
    drawVit(({ b, tokens }) => {
      const shape = b.shape(tokens)
      const [batch, patches] = [0, 1].map((axis) => b.gather(shape, b.int64([axis]), { axis: 0 }))
      if (batch === undefined || patches === undefined) return []
      const kept = b.reshape(b.identity(tokens), b.concat([batch, patches, b.int64([WIDTH])], { axis: 0 }))
      const split = b.reshape(kept, b.concat([batch, patches, b.int64([2, WIDTH / 2])], { axis: 0 }))
      return [b.relu(b.reshape(split, b.concat([batch, patches, b.int64([-1])], { axis: 0 })))]
    })

  it('are folded, ONNX Runtime computes the same, and a second run finds nothing', async () => {
    const [original, model] = [draw(), draw()]
    expect(canonical(model).status).toBe('applied')
    expect(count(model, 'Shape', 'Gather', 'Concat', 'Identity')).toBe(0)
    for (const dims of [
      [2, 3, 3 * PATCH, 2 * PATCH],
      [1, 3, PATCH, PATCH],
      [3, 3, 4 * PATCH + 1, 7 * PATCH - 1],
    ]) {
      const feeds = { pixels: noise(dims) }
      expect(largestDifference(await compute(original, feeds), await compute(model, feeds))).toBe(0)
    }
    const bytes = serializeModel(model)
    for (const again of [model, parseModel(bytes)]) {
      expect(canonical(again).status).toBe('already')
      expect(Buffer.compare(serializeModel(again), bytes)).toBe(0)
    }
  })

  it('that are in canonical form already are left alone', () => {
    const model = drawVit(({ b, tokens }) => [b.relu(tokens)])
    const bytes = serializeModel(model)
    expect(canonical(model).status).toBe('nothing')
    expect(Buffer.compare(serializeModel(model), bytes)).toBe(0)
    const attention = drawVit(({ b, tokens }) => [attend(b, tokens)])
    canonical(attention)
    const once = serializeModel(attention)
    canonical(attention)
    expect(Buffer.compare(serializeModel(attention), once)).toBe(0)
  })
})

it('a model that is no vision transformer is refused, and stays as it was', () => {
  expect(refused(parseModel(convolutionalModel()), ['canonical']).refusals[0]?.reason).toMatch(/no patch embedding/)
  expect(refused(parseModel(textModel()), ['canonical']).refusals[0]?.reason).toMatch(/no image input/)
})

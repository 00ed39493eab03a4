import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import type { OutputRole } from '../../src/analysis/anatomy.ts'
import { readModel } from '../../src/onnx/node.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { inspectModel } from '../../src/pipeline/inspect.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { attend, drawVit, WIDTH, weights } from '../support/drawn-vit.ts'
import { allFixtures, fixture } from '../support/fixtures.ts'
import { convolutionalModel, textModel } from '../support/other-models.ts'

/** Passes that every export in fixtures/ must let through. */
const PADPROOF = registry.presets.padproof ?? []

/** The part of case.json that says how PyTorch's model was made. */
interface Config {
  readonly width: number
  readonly depth: number
  readonly heads: number
  readonly grid: number
}

function configOf(folder: string): Config {
  const described: { readonly origin: { readonly config: Config } } = JSON.parse(
    readFileSync(join(folder, 'case.json'), 'utf8'),
  )
  return described.origin.config
}

function roleOf(output: string): OutputRole {
  if (output === 'pooler_output') return 'pooled'
  if (output === 'logits') return 'scores'
  return output.startsWith('attentions') ? 'attention weights' : 'tokens'
}

describe('the anatomy of an export is that of the model in PyTorch', () => {
  it.each(allFixtures())('$name', async ({ path, goldenCase, entry }) => {
    const model = await readModel(path)
    const before = serializeModel(model)
    const report = inspectModel(registry, model)
    expect(Buffer.compare(serializeModel(model), before)).toBe(0)
    const { width, depth, heads, grid } = configOf(goldenCase.folder)
    const anatomy = report.anatomy ?? expect.fail(report.notRead?.reason)
    expect(anatomy).toMatchObject({
      input: { channels: goldenCase.channels },
      patch: { height: goldenCase.patch, width: goldenCase.patch },
      prefix: goldenCase.prefix,
      hidden: width,
      blocks: depth,
      norms: 2 * depth + 1,
      problems: [],
      poolings: [],
    })
    expect(anatomy.positions).toEqual([
      expect.objectContaining({ prefix: goldenCase.prefix, native: { rows: grid, cols: grid } }),
    ])
    expect(anatomy.positions[0]?.resize).toMatch(/^(baked|cubic)$/)
    if (entry.dynamic === 'interp') expect(anatomy.positions[0]?.resize).toBe('cubic')
    for (const site of anatomy.attention) expect(site).toMatchObject({ kind: 'self', heads })
    expect(anatomy.outputs.map(({ name, role }) => [name, role])).toEqual(
      model.graph.outputs.map(({ name }) => [name, roleOf(entry.outputs[name] ?? name)]),
    )
    const [declared, , height] = model.graph.inputs[0]?.declaredDims ?? []
    expect(anatomy.baked.batch).toBe(typeof declared === 'number' ? declared : null)
    expect(anatomy.baked.height).toBe(typeof height === 'number' ? height : null)
    expect(report.passes.map(({ pass }) => pass)).toEqual(registry.passes.map(({ name }) => name))
    const misfits = report.passes.filter(
      ({ pass, status }) => PADPROOF.includes(pass) && !/^(applied|nothing)$/.test(status),
    )
    expect(misfits).toEqual([])
    expect(report.opsets['ai.onnx']).toBe(entry.opset)
    expect(report.nodes).toBe(model.graph.nodes.length)
    expect(Object.values(report.operators).reduce((n, count) => n + count, 0)).toBeGreaterThanOrEqual(report.nodes)
  })
})

it('fused attention is seen as such, and its blocks are read once eager has run', async () => {
  const { path, goldenCase } = fixture('vit-p16-g4/dynamo23-sdpa-interp-b2.onnx')
  const model = await readModel(path)
  runPasses(registry, model, ['eager'])
  expect(inspectModel(registry, model).anatomy?.blocks).toBe(configOf(goldenCase.folder).depth)
})

it('what was done before is told', async () => {
  const model = await readModel(fixture('vit-p16-g4/ts17-eager-interp.onnx').path)
  runPasses(registry, model, ['padproof'])
  const { passes, provenance } = inspectModel(registry, parseModel(serializeModel(model)))
  expect(provenance.passes.map(({ name }) => name)).toEqual(expect.arrayContaining(['mask', 'posenc', 'zero']))
  for (const pass of ['mask', 'posenc', 'zero']) {
    expect(passes).toContainEqual(expect.objectContaining({ pass, fits: true, status: 'already' }))
  }
})

it('the passes that do not fit say why, and which of those that they require it was', () => {
  const model = drawVit(({ b, tokens }) => [b.gather(attend(b, tokens), b.int64(5), { axis: 1 })])
  const before = serializeModel(model)
  const { anatomy, passes } = inspectModel(registry, model)
  expect(anatomy?.problems).toEqual([
    { node: expect.stringMatching(/^Gather /), reason: expect.stringMatching(/picks patches by number/) },
  ])
  const of = (name: string) => passes.find(({ pass }) => pass === name)
  expect(of('dynshape')).toMatchObject({ status: 'nothing', fits: false })
  expect(of('mask')).toMatchObject({ status: 'refused', fits: false, refusals: [{ node: /Gather/ }] })
  expect(of('zero')).toMatchObject({ status: 'refused', refusedBy: 'mask' })
  expect(Buffer.compare(serializeModel(model), before)).toBe(0)
})

it('the roles of outputs that a model of no family has', () => {
  const model = drawVit(({ b, tokens, grid }) => {
    const mixed = attend(b, tokens)
    const pooled = b.reduceMean(mixed, { axes: [1], keepdims: 0 })
    const scores = b.matMul(pooled, weights(b, [WIDTH, 5], 6))
    return [mixed, pooled, scores, b.relu(grid), b.identity(b.float([1, 2]))]
  })
  const { anatomy } = inspectModel(registry, model)
  expect(anatomy?.outputs.map(({ role }) => role)).toEqual(['tokens', 'pooled', 'scores', 'feature map', 'other'])
  expect(anatomy?.poolings).toEqual([{ node: expect.any(String), kind: 'mean' }])
  expect(anatomy?.prefix).toBe(0)
})

it.each([
  ['a convolutional network', convolutionalModel(), /no patch embedding/],
  ['a model over text', textModel(), /no image input/],
])('%s is described, and it is said why it is not read', (_, bytes, reason) => {
  const report = inspectModel(registry, parseModel(bytes))
  expect(report.anatomy).toBeNull()
  expect(report.notRead?.reason).toMatch(reason)
  expect(report.passes.every(({ status, fits }) => status === 'refused' && !fits)).toBe(true)
  expect(report.inputs).toHaveLength(1)
})

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { inspect, PassRefusedError, parseModel, run, serializeModel, VitpassError } from '../src/index.ts'
import { convolutionalModel } from './support/other-models.ts'

const bytes = readFileSync('fixtures/vit-p16-g4/ts17-eager-interp.onnx')

describe('the library, on bytes alone', () => {
  it('rewrites a model', async () => {
    const model = parseModel(bytes)
    const report = await run(model, ['mask', 'posenc'], { mask: { source: 'sizes' } })
    expect(report.passes.map(({ pass, added }) => [pass, added])).toEqual([
      ['canonical', true],
      ['eager', true],
      ['dynshape', true],
      ['mask', false],
      ['posenc', false],
    ])
    const again = parseModel(serializeModel(model))
    expect(again.graph.inputs.map(({ name }) => name)).toContain('image_sizes')
    expect(again.graph.nodes.length).toBe(report.nodesAfter)
    expect((await run(again, ['mask'], { mask: { source: 'sizes' } })).passes.at(-1)?.status).toBe('already')
  })

  it('describes a model and leaves it as it is', () => {
    const model = parseModel(bytes)
    const report = inspect(model)
    expect(report.anatomy).toMatchObject({ patch: { height: 16, width: 16 }, prefix: 1, blocks: 2 })
    expect(report.passes.filter(({ fits }) => fits).map(({ pass }) => pass)).toContain('mask')
    expect(Buffer.from(serializeModel(model)).equals(bytes)).toBe(true)
  })

  it('refuses with the reason, and leaves the model as it was', async () => {
    const original = convolutionalModel()
    const model = parseModel(original)
    const failure = await run(model, ['mask']).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(PassRefusedError)
    expect(failure).toBeInstanceOf(VitpassError)
    expect(failure).toMatchObject({ code: 'PASS_REFUSED', report: { passes: expect.any(Array) } })
    expect(Buffer.from(serializeModel(model)).equals(Buffer.from(original))).toBe(true)
  })

  it('rejects, not throws, for a pass that does not exist', async () => {
    await expect(run(parseModel(bytes), ['blur'])).rejects.toMatchObject({ code: 'UNKNOWN_PASS' })
  })
})

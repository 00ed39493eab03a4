import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { VitpassError } from '../../src/errors.ts'
import type { Model } from '../../src/ir/model.ts'
import { METADATA_KEY, readProvenance } from '../../src/ir/provenance.ts'
import { Value } from '../../src/ir/value.ts'
import { readModel } from '../../src/onnx/node.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import type { OptionsByPass } from '../../src/pipeline/options.ts'
import type { Pass } from '../../src/pipeline/pass.ts'
import { PassRefusedError, planPasses, type Registry, runPasses } from '../../src/pipeline/run.ts'
import { attend, drawVit, WIDTH, weights } from '../support/drawn-vit.ts'
import { fixture } from '../support/fixtures.ts'
import { refused } from '../support/refused.ts'

const BAKED = fixture('vit-p16-g4/optimum14-sdpa-names-t4.onnx').path
const FUSED = fixture('vit-p16-g4/dynamo23-sdpa-interp-b2.onnx').path

const names = (asked: readonly string[]) => planPasses(registry, asked).map(({ pass }) => pass.name)

function caught(run: () => unknown): VitpassError {
  try {
    run()
  } catch (error) {
    if (error instanceof VitpassError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('the plan', () => {
  it('puts passes in their own order, whatever the order of the names', () => {
    const all = ['canonical', 'eager', 'dynshape', 'mask', 'posenc', 'zero']
    expect(names(['mask', 'posenc', 'zero'])).toEqual(all)
    expect(names(['zero', 'posenc', 'mask'])).toEqual(all)
    expect(names(all.toReversed())).toEqual(all)
    expect(names(['zero', 'zero', 'posenc', 'zero'])).toEqual(all)
  })

  it('adds what a pass requires, and says which it added', () => {
    expect(planPasses(registry, ['posenc']).map(({ pass, added }) => [pass.name, added])).toEqual([
      ['canonical', true],
      ['dynshape', true],
      ['posenc', false],
    ])
    expect(planPasses(registry, ['zero', 'eager']).map(({ pass, added }) => [pass.name, added])).toEqual([
      ['canonical', true],
      ['eager', false],
      ['dynshape', true],
      ['mask', true],
      ['zero', false],
    ])
  })

  it('takes presets for the passes that they stand for', () => {
    expect(planPasses(registry, ['padproof'])).toEqual(
      planPasses(registry, ['eager', 'dynshape', 'mask', 'posenc', 'zero']),
    )
    expect(names(['padproof', 'canonical'])).toEqual(names(['padproof']))
  })

  it('is empty for no names', () => {
    expect(names([])).toEqual([])
  })

  it('knows the passes that every pass requires', () => {
    const known = registry.passes.map(({ name }) => name)
    for (const { requires } of registry.passes) for (const name of requires) expect(known).toContain(name)
    for (const preset of Object.values(registry.presets)) for (const name of preset) expect(known).toContain(name)
  })

  it.each(['nosuch', '', 'Mask', '__proto__', 'toString', 'constructor'])('stops at an unknown pass "%s"', (name) => {
    const error = caught(() => planPasses(registry, ['mask', name]))
    expect(error.code).toBe('UNKNOWN_PASS')
    expect(error.message).toContain(`"${name}"`)
    const known = [...registry.passes.map((pass) => pass.name), ...Object.keys(registry.presets)]
    expect(error.remedy).toBe(`known: ${known.join(', ')}`)
  })
})

describe('options', () => {
  const fails = async (passes: readonly string[], options: OptionsByPass): Promise<VitpassError> => {
    const model = await readModel(BAKED)
    const before = serializeModel(model)
    const error = caught(() => runPasses(registry, model, passes, options))
    expect(Buffer.compare(serializeModel(model), before)).toBe(0)
    return error
  }

  it.each([
    ['an unknown pass', { nosuch: { mode: 'rect' } }, 'UNKNOWN_PASS', /"nosuch"/],
    ['a pass that does not run', { posenc: { kind: 'cubic' } }, 'UNKNOWN_OPTION', /posenc, which does not run/],
    ['an unknown option', { mask: { modes: 'rect' } }, 'UNKNOWN_OPTION', /mask has no option "modes"/],
    ['an option of no object of ours', { mask: { constructor: 'x' } }, 'UNKNOWN_OPTION', /"constructor"/],
    ['an option of a pass without any', { eager: { x: 1 } }, 'UNKNOWN_OPTION', /eager has no option "x"/],
    ['another choice', { mask: { mode: 'round' } }, 'BAD_OPTION', /mask.mode cannot be "round"/],
    ['a number that is none', { mask: { tol: 'much' } }, 'BAD_OPTION', /mask.tol cannot be "much"/],
    ['an empty number', { mask: { tol: ' ' } }, 'BAD_OPTION', /mask.tol/],
    ['an infinite number', { mask: { padValue: Number.POSITIVE_INFINITY } }, 'BAD_OPTION', /mask.padValue/],
    ['a size of another form', { dynshape: { size: '224' } }, 'BAD_OPTION', /dynshape.size cannot be "224"/],
    ['a size of nothing', { dynshape: { size: '0x0' } }, 'BAD_OPTION', /dynshape.size cannot be "0x0"/],
    ['a negative tolerance', { mask: { tol: -1 } }, 'BAD_OPTION', /mask.tol cannot be "-1"/],
  ] as const)('for %s are refused before anything changes', async (_, options, code, message) => {
    const error = await fails(['mask'], options)
    expect(error.code).toBe(code)
    expect(error.message).toMatch(message)
    expect(error.remedy).not.toBe('')
  })

  it('are read from text, as the command line gives them, and reported in full', async () => {
    const model = await readModel(BAKED)
    const report = runPasses(registry, model, ['mask'], { mask: { tol: '0.5', padValue: '1e-1' } })
    const options = { source: 'pixels', mode: 'rect', padValue: 0.1, tol: 0.5, allowDense: false }
    expect(report.passes.at(-1)?.options).toEqual(options)
    expect(readProvenance(model).passes.at(-1)).toEqual({ name: 'mask', version: 1, options })
  })
})

describe('a run', () => {
  it('does the same whatever the order of the names', async () => {
    const bytes = await Promise.all(
      [
        ['mask', 'posenc', 'zero'],
        ['zero', 'posenc', 'mask'],
        ['posenc', 'padproof'],
      ].map(async (passes) => {
        const model = await readModel(FUSED)
        runPasses(registry, model, passes)
        return serializeModel(model)
      }),
    )
    for (const each of bytes.slice(1)) expect(Buffer.compare(each, bytes[0] as Uint8Array)).toBe(0)
  })

  it('tells what is left for another pass only where that pass does not run', async () => {
    const notes = async (passes: readonly string[]) => {
      const model = await readModel(fixture('vit-p16-g4/dynamo18-eager-batch-b2.onnx').path)
      return runPasses(registry, model, passes).passes.flatMap((report) => report.notes)
    }
    expect(await notes(['dynshape'])).toContainEqual(expect.stringContaining('posenc frees it'))
    expect(await notes(['dynshape', 'posenc'])).not.toContainEqual(expect.stringContaining('posenc frees it'))
  })

  it('reports every pass, what was added, its sites, and nodes before and after', async () => {
    const model = await readModel(FUSED)
    const nodesBefore = model.graph.nodes.length
    const report = runPasses(registry, model, ['mask', 'posenc'])
    expect(report.passes.map(({ pass, added, status }) => [pass, added, status])).toEqual([
      ['canonical', true, 'applied'],
      ['eager', true, 'applied'],
      ['dynshape', true, expect.stringMatching(/applied|nothing/)],
      ['mask', false, 'applied'],
      ['posenc', false, 'applied'],
    ])
    expect(report.passes[1]?.sites).toEqual({ attention: 2, 'key bias': 2 })
    expect(report.passes[3]?.sites).toEqual({ softmax: 2 })
    expect(report.passes[4]?.sites).toEqual({ 'position table': 1 })
    expect(report.nodesBefore).toBe(nodesBefore)
    expect(report.nodesAfter).toBe(model.graph.nodes.length)
    for (const [i, { nodesBefore: before, seconds }] of report.passes.entries()) {
      expect(before).toBe(i === 0 ? nodesBefore : report.passes[i - 1]?.nodesAfter)
      expect(seconds).toBeGreaterThanOrEqual(0)
    }
    JSON.parse(JSON.stringify(report))
  })

  it('of nothing changes nothing', async () => {
    const model = await readModel(FUSED)
    const before = serializeModel(model)
    expect(runPasses(registry, model, []).passes).toEqual([])
    expect(Buffer.compare(serializeModel(model), before)).toBe(0)
  })
})

describe('whatever goes wrong, the model is as it was', () => {
  it('when a later pass refuses: the report says what ran before', () => {
    const model = drawVit(({ b, tokens }) => [attend(b, b.add(tokens, weights(b, [1, 6, WIDTH], 5)))], {
      dims: ['batch', 3, 8, 12],
    })
    const error = refused(model, ['posenc', 'mask'])
    expect(error.pass).toBe('posenc')
    expect(error.report.passes.map(({ pass }) => pass)).toEqual(['canonical', 'eager', 'dynshape', 'mask', 'posenc'])
    expect(error.report.passes.find(({ pass }) => pass === 'mask')?.status).toBe('applied')
    expect(error.report.passes.at(-1)).toMatchObject({ status: 'refused', refusals: error.refusals })
    expect(model.metadata.has(METADATA_KEY)).toBe(false)
    expect(model.graph.inputs.map(({ name }) => name)).toEqual(['pixels'])
  })

  it('and it can be run again with what the refusal asks for', () => {
    const model = drawVit(({ b, tokens }) => [attend(b, b.add(tokens, weights(b, [1, 6, WIDTH], 5)))], {
      dims: ['batch', 3, 8, 12],
    })
    refused(model, ['posenc'])
    const options = { posenc: { native: '2x3' } }
    expect(runPasses(registry, model, ['posenc'], options).passes.at(-1)?.status).toBe('applied')
  })

  const breaking = (run: Pass['run']): Registry => {
    const pass: Pass = { name: 'bad', version: 1, summary: '', options: {}, requires: ['mask'], run }
    return { passes: [...registry.passes, pass], presets: {} }
  }

  it('when a pass leaves a broken graph', async () => {
    const model = await readModel(BAKED)
    const before = serializeModel(model)
    const broken = breaking((changed: Model) => {
      changed.graph.nodes.at(-1)?.setInput(0, new Value('from nowhere'))
      return { status: 'applied', sites: {} }
    })
    const error = caught(() => runPasses(broken, model, ['bad']))
    expect(error.code).toBe('PASS_BROKE_GRAPH')
    expect(error.pass).toBe('bad')
    expect(Buffer.compare(serializeModel(model), before)).toBe(0)
  })

  it('when a pass throws what is no error of ours', async () => {
    const model = await readModel(BAKED)
    const before = serializeModel(model)
    const broken = breaking(() => {
      throw new TypeError('oops')
    })
    expect(() => runPasses(broken, model, ['bad'])).toThrow(TypeError)
    expect(Buffer.compare(serializeModel(model), before)).toBe(0)
  })

  it('when a pass fails with an error of ours, which names the pass', async () => {
    const model = await readModel(BAKED)
    const failing = breaking(() => {
      throw new VitpassError('INTERNAL', 'a bug')
    })
    expect(caught(() => runPasses(failing, model, ['bad']))).toMatchObject({ code: 'INTERNAL', pass: 'bad' })
    const unsupported = breaking(() => {
      throw new VitpassError('MODEL_UNSUPPORTED', 'not this one', { remedy: 'another' })
    })
    const error = caught(() => runPasses(unsupported, model, ['bad']))
    expect(error).toBeInstanceOf(PassRefusedError)
    expect(error).toMatchObject({ code: 'PASS_REFUSED', pass: 'bad', remedy: 'another' })
  })
})

describe('what was done is written in the model', () => {
  it('with name, version and options of every pass, and survives writing and reading', async () => {
    const model = await readModel(FUSED)
    const kept = new Map(model.metadata)
    runPasses(registry, model, ['padproof'], { mask: { source: 'sizes' } })
    const read = parseModel(serializeModel(model))
    expect(readProvenance(read)).toEqual(readProvenance(model))
    const applied = readProvenance(read).passes
    for (const { name, version, options } of applied) {
      expect(registry.passes.find((pass) => pass.name === name)?.version).toBe(version)
      expect(options).toEqual(
        name === 'mask'
          ? { source: 'sizes', mode: 'rect', padValue: 0, tol: 0, allowDense: false }
          : expect.any(Object),
      )
    }
    expect(applied.map(({ name }) => name)).toEqual(expect.arrayContaining(['eager', 'mask', 'posenc', 'zero']))
    for (const [key, value] of kept) expect(read.metadata.get(key)).toBe(value)
  })

  it('so that a second run does nothing, in the same process and after reading', async () => {
    const model = await readModel(BAKED)
    runPasses(registry, model, ['padproof'])
    const bytes = serializeModel(model)
    for (const again of [model, parseModel(bytes)]) {
      const { passes } = runPasses(registry, again, ['padproof'])
      for (const { pass, status } of passes) {
        expect([pass, status]).toEqual([pass, expect.stringMatching(/^(already|nothing)$/)])
      }
      expect(passes.slice(3).map(({ status }) => status)).toEqual(['already', 'already', 'already'])
      expect(Buffer.compare(serializeModel(again), bytes)).toBe(0)
    }
  })

  it('and a second run with other options is refused', async () => {
    const model = await readModel(BAKED)
    runPasses(registry, model, ['padproof'])
    for (const again of [model, parseModel(serializeModel(model))]) {
      const error = refused(again, ['mask'], { mask: { source: 'sizes' } })
      expect(error.refusals[0]?.reason).toMatch(/already applied with options .*"source":"pixels"/)
      expect(error.refusals[0]?.remedy).toBe('start from the original model')
      expect(refused(again, ['zero'], { mask: { mode: 'patch' } }).pass).toBe('mask')
      expect(refused(again, ['posenc'], { posenc: { kind: 'bilinear' } }).pass).toBe('posenc')
    }
  })

  it('and the same options, spelled out, are no other options', async () => {
    const model = await readModel(BAKED)
    runPasses(registry, model, ['mask'], { mask: { source: 'sizes' } })
    const mask = (options: OptionsByPass) => runPasses(registry, model, ['mask'], options).passes.at(-1)?.status
    expect(mask({})).toBe('already')
    expect(mask({ mask: { source: 'sizes', mode: 'rect', tol: '0' } })).toBe('already')
  })

  it('and text of another tool under our key does no harm', async () => {
    for (const text of ['', 'hello', '[]', '{}', '{"passes":1}', '{"passes":[null,1,{"name":"mask"}]}', 'null']) {
      const model = await readModel(BAKED)
      model.setMetadata(METADATA_KEY, text)
      expect(readProvenance(model).passes).toEqual([])
      expect(runPasses(registry, model, ['mask']).passes.at(-1)?.status).toBe('applied')
      expect(readProvenance(model).passes.map(({ name }) => name)).toContain('mask')
    }
  })
})

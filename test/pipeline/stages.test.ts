import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import type { Model } from '../../src/ir/model.ts'
import { readProvenance } from '../../src/ir/provenance.ts'
import { readModel } from '../../src/onnx/node.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import type { OptionsByPass } from '../../src/pipeline/options.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { type Fixture, fixture } from '../support/fixtures.ts'
import { largestDifference } from '../support/graphs.ts'
import { describeMeasured, type Measured } from '../support/measure.ts'
import { normals } from '../support/noise.ts'
import { type Feed, OrtRunner } from '../support/ort.ts'
import { padBatch } from '../support/padded.ts'
import { checkProperties, type Masking } from '../support/properties.ts'
import type { Dense } from '../support/safetensors.ts'
import { pixelInput, SIZES_INPUT } from '../support/scene.ts'

const FIXTURES = [
  'vit-p16-g4/ts17-eager-interp.onnx',
  'vit-p16-g4/dynamo23-sdpa-interp-b2.onnx',
  'vit-cls-p8-g4/optimum17-sdpa-names-t4.onnx',
  'vit-p16-g4/ts14-sdpa-static.onnx',
  'vit-p8-g4-hidden/ts14-eager-interp-hs-att.onnx',
].map(fixture)

/** Runs each list of passes by itself, the model written and read between. */
function inStages(model: Model, stages: readonly (readonly string[])[], options: OptionsByPass = {}): Model {
  return stages.reduce((before, passes) => {
    const given = Object.entries(options).filter(([pass]) => passes.includes(pass))
    runPasses(registry, before, passes, Object.fromEntries(given))
    return parseModel(serializeModel(before))
  }, model)
}

/** All golden images in one batch, their sizes given where the model asks for them. */
async function answers({ goldenCase }: Fixture, model: Model): Promise<Map<string, Dense>> {
  const { images, patch } = goldenCase
  const over = (lengths: number[]) => (Math.ceil(Math.max(...lengths) / patch) + 1) * patch
  const canvas = { height: over(images.map(({ height }) => height)), width: over(images.map(({ width }) => width)) }
  const runner = await OrtRunner.open(serializeModel(model))
  try {
    const pixels = padBatch(
      images.map((image) => image.pixels),
      canvas,
    )
    const feeds: Record<string, Feed> = { [pixelInput(runner)]: pixels }
    if (runner.inputs.includes(SIZES_INPUT)) {
      const sizes = images.flatMap(({ height, width }) => [BigInt(height), BigInt(width)])
      feeds[SIZES_INPUT] = { data: BigInt64Array.from(sizes), dims: [images.length, 2] }
    }
    return await runner.run(feeds)
  } finally {
    await runner.close()
  }
}

async function failures(found: Fixture, model: Model, masking: Masking): Promise<string[]> {
  const { goldenCase, entry, path } = found
  const measured: Measured[] = await checkProperties({
    transformed: serializeModel(model),
    original: path,
    goldenCase,
    entry,
    masking,
    zeroed: true,
  })
  return measured.filter(({ ok }) => !ok).map(describeMeasured)
}

describe.each(FIXTURES)('$name', (found) => {
  it.each([
    { order: [['canonical'], ['eager'], ['dynshape'], ['mask'], ['posenc'], ['zero']] },
    { order: [['dynshape'], ['mask'], ['posenc'], ['zero']] },
    { order: [['dynshape'], ['posenc'], ['mask'], ['zero']] },
    { order: [['mask', 'zero'], ['posenc']] },
  ])('passes in stages $order give the numbers of one run', async ({ order }) => {
    const whole = await readModel(found.path)
    runPasses(registry, whole, ['padproof'])
    const staged = inStages(await readModel(found.path), order)
    const [one, other] = [await answers(found, whole), await answers(found, staged)]
    expect([...other.keys()]).toEqual([...one.keys()])
    expect(largestDifference(one, other)).toBeLessThan(2e-6)
    expect(
      readProvenance(staged)
        .passes.map(({ name }) => name)
        .sort(),
    ).toEqual(expect.arrayContaining(['mask', 'posenc', 'zero']))
  })
})

const MASKINGS: readonly Masking[] = [
  { source: 'sizes', mode: 'rect' },
  { source: 'pixels', mode: 'patch' },
  { source: 'sizes', mode: 'patch' },
]

describe.each(MASKINGS)('mask.source=$source mask.mode=$mode of an earlier run', (masking) => {
  it.each(FIXTURES.slice(0, 3))('holds for posenc and zero in runs of their own: $name', async (found) => {
    const staged = inStages(await readModel(found.path), [['mask'], ['posenc'], ['zero']], { mask: { ...masking } })
    const inputs = staged.graph.inputs.filter(({ tensor }) => tensor === null).map(({ name }) => name)
    expect(inputs.filter((name) => name === SIZES_INPUT)).toHaveLength(masking.source === 'sizes' ? 1 : 0)
    const whole = await readModel(found.path)
    runPasses(registry, whole, ['padproof'], { mask: { ...masking } })
    expect(largestDifference(await answers(found, whole), await answers(found, staged))).toBeLessThan(2e-6)
  })

  it('gives each image what PyTorch gives it alone', async () => {
    const found = fixture('vit-p16-g4/ts17-eager-interp.onnx')
    const staged = inStages(await readModel(found.path), [['mask'], ['posenc'], ['zero']], { mask: { ...masking } })
    expect(await failures(found, staged, masking)).toEqual([])
  })

  it('cannot be asked for once posenc has run without it', async () => {
    const model = await readModel(FIXTURES[0]?.path ?? '')
    runPasses(registry, model, ['posenc'])
    const again = parseModel(serializeModel(model))
    const before = serializeModel(again)
    expect(() => runPasses(registry, again, ['mask'], { mask: { ...masking } })).toThrow(/with other options/)
    expect(Buffer.compare(serializeModel(again), before)).toBe(0)
  })
})

describe('pixels that are not zero', () => {
  it('count as padding where padValue says so, also for the passes of later runs', async () => {
    const found = fixture('vit-p16-g4/ts17-eager-interp.onnx')
    const { goldenCase } = found
    const options = { mask: { padValue: -1.5, tol: 0.25 } }
    const model = inStages(await readModel(found.path), [['mask'], ['posenc'], ['zero']], options)
    const zeros = await readModel(found.path)
    runPasses(registry, zeros, ['padproof'])
    const images = goldenCase.images.filter(({ tags }) => tags.includes('wide') || tags.includes('tall'))
    const canvas = { height: 80, width: 112 }
    const shift = (fill: () => number) =>
      padBatch(
        images.map(({ pixels }) => pixels),
        canvas,
        fill,
      )
    const draw = normals(3)
    const near = () => -1.5 + 0.2 * Math.tanh(draw())
    const run = async (transformed: Model, pixels: Dense) => {
      const runner = await OrtRunner.open(serializeModel(transformed))
      const outputs = await runner.run({ [pixelInput(runner)]: pixels })
      await runner.close()
      return outputs
    }
    const [wanted, got] = [
      await run(
        zeros,
        shift(() => 0),
      ),
      await run(model, shift(near)),
    ]
    expect(largestDifference(wanted, got)).toBeLessThan(1e-5)
  })
})

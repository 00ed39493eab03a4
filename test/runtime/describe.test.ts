import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { registry } from '../../passes/index.ts'
import { VitpassError } from '../../src/errors.ts'
import { readModel } from '../../src/onnx/node.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { describeEncoder } from '../../src/runtime/describe.ts'
import { allFixtures, fixture } from '../support/fixtures.ts'
import { sketch } from '../support/graphs.ts'

const VIT = fixture('vit-p16-g4/ts17-eager-interp.onnx').path

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'vitpass-describe-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

async function errorOf(promise: Promise<unknown>): Promise<VitpassError> {
  const error: unknown = await promise.catch((thrown: unknown) => thrown)
  if (error instanceof VitpassError) return error
  throw new Error('no VitpassError was thrown', { cause: error })
}

describe('describeEncoder', () => {
  it('reads a ViT off its file', async () => {
    const found = await describeEncoder(VIT)
    expect(found).toMatchObject({
      hiddenSize: 32,
      hiddenSizeFrom: 'outputs',
      input: { name: 'pixel_values', dtype: 'float' },
      layout: 'NCHW',
      channels: 3,
      patch: { height: 16, width: 16 },
      nativeSize: null,
      embedding: { output: 'pooler_output', length: 32 },
      strategy: { kind: 'grouped' },
    })
    expect(found.outputs.map(({ name }) => name)).toEqual(['last_hidden_state', 'pooler_output'])
    expect(found.strategy.why).toMatch(/equal size/)
  })

  it('sees that vitpass has made a model padding-proof', async () => {
    const model = await readModel(VIT)
    runPasses(registry, model, ['mask', 'posenc', 'zero'])
    const { strategy, patch } = await describeEncoder(serializeModel(model))
    expect(strategy).toMatchObject({ kind: 'masked' })
    expect(strategy.why).toMatch(/padding-proof/)
    expect(patch).toEqual({ height: 16, width: 16 })
  })

  const plain = allFixtures().filter(({ entry }) => entry.outputs.last_hidden_state === 'last_hidden_state')

  it.each(plain)('agrees with the golden case about $name', async ({ path, goldenCase }) => {
    const wanted = goldenCase.expected('last_hidden_state', 0).dims.at(-1)
    // Some exporters declare names for every axis: then the config alone can tell.
    const { outputs } = (await readModel(path)).graph
    const declared = outputs.some((output) => typeof output.declaredDims?.at(-1) === 'number')
    if (!declared) expect((await errorOf(describeEncoder(path))).message).toMatch(/hidden size/)
    const found = await describeEncoder(path, declared ? undefined : { hidden_size: wanted })
    expect(found.hiddenSize).toBe(wanted)
    expect(found.channels ?? goldenCase.channels).toBe(goldenCase.channels)
    expect(found.patch).toEqual({ height: goldenCase.patch, width: goldenCase.patch })
  })

  it.each([
    [{ hidden_size: 7, image_size: 64 }, 7],
    [{ vision_config: { hidden_size: 9, image_size: [64, 64] }, hidden_size: 7 }, 9],
    [{ vision_config: { image_size: 64 }, hidden_size: 7 }, 7],
    [{ neck_hidden_sizes: [1, 2, 3, 4], expand_output: true, hidden_sizes: [5], image_size: 64 }, 4],
    [{ neck_hidden_sizes: [1, 2, 3, 4], expand_output: false, image_size: 64 }, 3],
    [{ neck_hidden_sizes: [1, 2, 3, 4], image_size: 64 }, 3],
    [{ hidden_sizes: [5, 6], image_size: 64 }, 6],
  ])('takes the hidden size of %j', async (config, hiddenSize) => {
    const found = await describeEncoder(VIT, config)
    expect(found).toMatchObject({ hiddenSize, hiddenSizeFrom: 'config', nativeSize: { height: 64, width: 64 } })
  })

  it('finds the config.json beside the model, and above a folder named onnx', async () => {
    const home = folder()
    mkdirSync(join(home, 'onnx'))
    copyFileSync(VIT, join(home, 'onnx', 'model.onnx'))
    writeFileSync(join(home, 'config.json'), JSON.stringify({ hidden_size: 99 }))
    expect(await describeEncoder(join(home, 'onnx', 'model.onnx'))).toMatchObject({ hiddenSize: 99 })
    writeFileSync(join(home, 'onnx', 'config.json'), JSON.stringify({ hidden_size: 98 }))
    expect(await describeEncoder(join(home, 'onnx', 'model.onnx'))).toMatchObject({ hiddenSize: 98 })
    writeFileSync(join(home, 'onnx', 'config.json'), '{')
    expect(await errorOf(describeEncoder(join(home, 'onnx', 'model.onnx')))).toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('describes a model with channels last, and says that no way of feeding it is known', async () => {
    const { model } = sketch(17, { images: ['b', 32, 32, 3] }, (builder, [x]) =>
      x === undefined ? [] : [builder.reduceMean(x, { axes: [1, 2], keepdims: 0 })],
    )
    const found = await describeEncoder(serializeModel(model), { hidden_size: 3 })
    expect(found).toMatchObject({ layout: 'NHWC', channels: 3, nativeSize: { height: 32, width: 32 }, patch: null })
  })

  it('names what is missing', async () => {
    const flat = sketch(17, { tokens: ['b', 's', 'n', 'm', 'k'] }, (builder, [x]) =>
      x === undefined ? [] : [builder.relu(x)],
    )
    const noImage = await errorOf(describeEncoder(serializeModel(flat.model)))
    expect(noImage).toMatchObject({ code: 'MODEL_UNSUPPORTED', message: 'none of its inputs takes an image' })
    const open = sketch(17, { x: ['b', 3, 'h', 'w'] }, (builder, [x]) => (x === undefined ? [] : [builder.relu(x)]))
    const noSize = await errorOf(describeEncoder(serializeModel(open.model)))
    expect(noSize).toMatchObject({ code: 'MODEL_UNSUPPORTED' })
    expect(noSize.message).toMatch(/hidden size/)
    expect(await errorOf(describeEncoder(new Uint8Array(readFileSync(import.meta.filename))))).toMatchObject({
      code: 'NOT_ONNX',
    })
  })
})

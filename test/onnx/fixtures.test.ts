import { readFileSync } from 'node:fs'
import * as ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { cloneModel } from '../../src/ir/clone.ts'
import { verify } from '../../src/ir/verify.ts'
import { readModel } from '../../src/onnx/node.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { fixtureBytes, fixturePaths, seenByCodec, seenByOnnxProto } from './independent.ts'

function names(path: string): string {
  return path.split('/').slice(-2).join('/')
}

describe('real exports', () => {
  it('are there', () => {
    expect(fixturePaths.length).toBeGreaterThan(20)
  })

  it.each(fixturePaths.map((path) => [names(path), path]))('%s comes out as it went in', async (_, path) => {
    const bytes = fixtureBytes(path)
    const fromFile = await readModel(path)
    verify(fromFile)
    expect(Buffer.compare(serializeModel(fromFile), bytes)).toBe(0)

    const touched = parseModel(bytes)
    touched.graph.touch()
    const written = serializeModel(touched)
    expect(seenByOnnxProto(written)).toEqual(seenByOnnxProto(bytes))
    expect(seenByCodec(written)).toEqual(seenByCodec(bytes))

    const copy = cloneModel(touched)
    verify(copy)
    expect(seenByCodec(serializeModel(copy))).toEqual(seenByCodec(bytes))
  })

  const inside = fixturePaths.filter((path) => !path.includes('external') && goldenCase(path).origin.native !== true)
  it.each(inside.map((path) => [names(path), path]))('%s runs the same after being written anew', async (_, path) => {
    const bytes = fixtureBytes(path)
    const model = parseModel(bytes)
    model.setMetadata('note', 'changed')
    const [before, after] = [await outputs(path, bytes), await outputs(path, serializeModel(model))]
    expect(after).toEqual(before)
  })
})

/** Outputs for one fixed image, or several, of the size at which it was exported. */
async function outputs(path: string, bytes: Uint8Array): Promise<Record<string, unknown>> {
  const session = await ort.InferenceSession.create(bytes, { graphOptimizationLevel: 'disabled', logSeverityLevel: 3 })
  const [input] = session.inputMetadata
  if (input === undefined || !input.isTensor) throw new Error('the model has no tensor input')
  const { channels, traceSize } = goldenCase(path)
  const usual = [path.includes('-b2') ? 2 : 1, channels, ...traceSize]
  const dims = input.shape.map((dim, axis) => (typeof dim === 'number' ? dim : (usual[axis] ?? 1)))
  const count = dims.reduce((product, dim) => product * dim, 1)
  const feed =
    input.type === 'float16'
      ? new ort.Tensor(
          'float16',
          Uint16Array.from({ length: count }, (_, i) => 0x3800 + (i % 512)),
          dims,
        )
      : new ort.Tensor(
          'float32',
          Float32Array.from({ length: count }, (_, i) => Math.sin(i)),
          dims,
        )
  const found = await session.run({ [input.name]: feed })
  return Object.fromEntries(Object.entries(found).map(([name, value]) => [name, value.data]))
}

interface Described {
  readonly channels: number
  readonly traceSize: readonly number[]
  /** `native`: it takes more than one input. */
  readonly origin: { readonly native?: boolean }
}

function goldenCase(path: string): Described {
  const [folder, file = ''] = names(path).split('/')
  const text = readFileSync(new URL(`../../golden/${folder}/case.json`, import.meta.url), 'utf8')
  const { channels, native, models, origin } = JSON.parse(text)
  const entry = models.find((model: { readonly file: string }) => model.file.endsWith(`/${file}`))
  return { channels, traceSize: entry?.traceSize ?? native, origin }
}

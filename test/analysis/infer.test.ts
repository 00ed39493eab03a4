import { InferenceSession, Tensor } from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { type Facts, listOf } from '../../src/analysis/facts.ts'
import { infer } from '../../src/analysis/infer.ts'
import { callerInputs } from '../../src/analysis/pixels.ts'
import { cloneModel } from '../../src/ir/clone.ts'
import { type Dim, int, resolve, sym } from '../../src/ir/dim.ts'
import type { Model } from '../../src/ir/model.ts'
import type { Value } from '../../src/ir/value.ts'
import { readModel } from '../../src/onnx/node.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { allFixtures, type Fixture, withSource } from '../support/fixtures.ts'
import { fromHalves, toHalves } from '../support/float16.ts'
import { noise } from '../support/graphs.ts'

interface Shape {
  readonly batch: number
  readonly channels: number
  readonly height: number
  readonly width: number
}

/** Two sizes that the export takes, or the one where it takes one only. */
function shapesOf({ entry, goldenCase }: Fixture, pixels: Value): Shape[] {
  const { channels, images } = goldenCase
  const [declared, , height, width] = pixels.declaredDims ?? []
  const batch = typeof declared === 'number' ? declared : 2
  const [tracedHeight, tracedWidth] = entry.traceSize
  const traced = { batch, channels, height: tracedHeight, width: tracedWidth }
  const free = typeof height === 'string' && typeof width === 'string'
  const other = images.find(
    (image) => free && entry.rightAlone.includes(image.index) && image.tags.some((tag) => tag === 'wide'),
  )
  return other === undefined ? [traced] : [traced, { ...traced, height: other.height, width: other.width }]
}

function inferAt(model: Model, pixels: Value, shape: Shape): Facts {
  const axes: Dim[] = [
    sym('batch', shape.batch),
    int(shape.channels),
    sym('height', shape.height),
    sym('width', shape.width),
  ]
  return infer(model.graph, model.opset, new Map([[pixels, axes]]))
}

/** A copy whose every intermediate value is an output, of the type that was inferred. */
function exposed(model: Model, facts: Facts): Model {
  const copy = cloneModel(model)
  const known = new Map(model.graph.nodes.flatMap((node) => node.outputs).map((value) => [value?.name, value]))
  for (const node of copy.graph.nodes) {
    for (const value of node.outputs) {
      if (value === null || copy.graph.outputs.includes(value)) continue
      const dtype = facts.dtype(known.get(value.name) ?? null)
      value.type = dtype === undefined ? null : { kind: 'tensor', dtype, dims: null }
      copy.graph.addOutput(value)
    }
  }
  return copy
}

async function run(model: Model, pixels: Value, shape: Shape): Promise<Record<string, Tensor>> {
  return withSource(model, async (source) => {
    const options = { graphOptimizationLevel: 'disabled', logSeverityLevel: 4, intraOpNumThreads: 1 } as const
    const session =
      typeof source === 'string'
        ? await InferenceSession.create(source, options)
        : await InferenceSession.create(source, options)
    const dims = [shape.batch, shape.channels, shape.height, shape.width]
    const { data } = noise(dims)
    const feed =
      pixels.dtype === 'float16' ? new Tensor('float16', toHalves(data), dims) : new Tensor('float32', data, dims)
    try {
      return await session.run({ [pixels.name]: feed })
    } finally {
      await session.release()
    }
  })
}

/** What inference says of a value and ONNX Runtime does not; null where they agree. */
function disagreement(value: Value, facts: Facts, computed: Tensor): string | null {
  const dims = facts.dims(value)
  if (dims === null) return `${value.name}: no shape was inferred`
  const shape = dims.map((dim) => dim.n)
  if (shape.join() !== computed.dims.join()) return `${value.name}: [${shape}] instead of [${computed.dims}]`
  const contents = facts.contents(value)
  if (contents === null) return null
  const inferred = listOf(contents).map((item) => resolve(item).n)
  const { data } = computed
  const actual: number[] =
    computed.type === 'float16' && data instanceof Uint16Array
      ? [...fromHalves(data)]
      : Array.from(data as ArrayLike<number | bigint | boolean>, Number)
  const wrong = actual.findIndex((x, i) => Math.abs(x - (inferred[i] ?? Number.NaN)) > 1e-6 * Math.max(1, Math.abs(x)))
  const same = actual.length === inferred.length && wrong < 0
  return same ? null : `${value.name} holds ${actual.slice(0, 8)}, not ${inferred.slice(0, 8)}`
}

/** Every value that inference and ONNX Runtime see otherwise, and how many shape tensors were followed. */
async function compare(
  model: Model,
  pixels: Value,
  shape: Shape,
): Promise<{ wrong: readonly string[]; followed: number }> {
  const facts = inferAt(model, pixels, shape)
  expect(facts.impossible).toEqual([])
  const computed = await run(exposed(model, facts), pixels, shape)
  const values = model.graph.nodes.flatMap((node) => node.outputs).filter((value) => value !== null)
  const wrong = values.flatMap((value) => {
    const tensor = computed[value.name]
    return tensor === undefined ? `${value.name} was not computed` : (disagreement(value, facts, tensor) ?? [])
  })
  return { wrong, followed: values.filter((value) => facts.contents(value) !== null).length }
}

describe('inference agrees with ONNX Runtime on the shape of every value, and on what shape tensors hold', () => {
  it.each(allFixtures())('$name', async (fixture) => {
    const model = await readModel(fixture.path)
    const [pixels = expect.fail('there is no input')] = callerInputs(model)
    for (const shape of shapesOf(fixture, pixels)) {
      const { wrong, followed } = await compare(model, pixels, shape)
      expect(wrong).toEqual([])
      if (fixture.entry.dynamic === 'interp') expect(followed).toBeGreaterThan(10)
    }
  })

  it.each(allFixtures())('$name after the passes, at another size', async ({ path, goldenCase }) => {
    const { channels, patch } = goldenCase
    const model = await readModel(path)
    runPasses(registry, model, ['padproof'])
    const [pixels = expect.fail('there is no input')] = callerInputs(model)
    const { wrong, followed } = await compare(model, pixels, {
      batch: 3,
      channels,
      height: 5 * patch,
      width: 2 * patch,
    })
    expect(wrong).toEqual([])
    expect(followed).toBeGreaterThan(10)
  })
})

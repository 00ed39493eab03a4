import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { batchPlacements, placementKey } from '../../src/analysis/shapes/reshape.ts'
import { trace } from '../../src/analysis/trace.ts'
import { type Dim, int, product, sym } from '../../src/ir/dim.ts'
import type { Model } from '../../src/ir/model.ts'
import { floatTensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { drawVit, HEADS, type Pen, WIDTH, weights } from '../support/drawn-vit.ts'
import { compute, largestDifference, noise } from '../support/graphs.ts'
import { item } from '../support/padded.ts'
import { refused } from '../support/refused.ts'
import type { Dense } from '../support/safetensors.ts'

const DEPTH = WIDTH / HEADS
const PATCHES = 16
const SIDE = 16

/** A model of images of 16 by 16 pixels, so of 16 patches, made for one batch size. */
function fixedVit(draw: (pen: Pen) => readonly Value[], batch = 1): Model {
  return drawVit(draw, { dims: [batch, 3, SIDE, SIDE] })
}

/** The largest difference of the freed model's answers for three images in one batch to the drawn model's for each alone. */
async function differenceOnceFreed(draw: (pen: Pen) => readonly Value[], batch = 1): Promise<number> {
  const [original, freed] = [fixedVit(draw, batch), fixedVit(draw, batch)]
  runPasses(registry, freed, ['dynshape'])
  const images = noise([3, 3, SIDE, SIDE], 5)
  const together = await compute(freed, { pixels: images })
  let worst = 0
  for (const i of [0, 1, 2]) {
    const { data, dims } = item(images, i)
    const copies = Float32Array.from({ length: batch * data.length }, (_, at) => data[at % data.length] ?? 0)
    const alone = await compute(original, { pixels: { data: copies, dims: [batch, ...dims] } })
    worst = Math.max(worst, largestDifference(first(alone, 0), first(together, i)))
  }
  return worst
}

/** The model as a file holds it. */
function written(model: Model): Model {
  return parseModel(serializeModel(model))
}

function first(outputs: ReadonlyMap<string, Dense>, index: number): Map<string, Dense> {
  return new Map([...outputs].map(([name, output]) => [name, item(output, index)]))
}

/** Torch's attention with a learned query, sequence first: `query` [batch * heads, 1, 4], keys and values from the tokens. */
function pool({ b, tokens }: Pen, query: Value, turn: (tokens: Value) => Value, batch: number): Value {
  const sequence = turn(tokens)
  const keys = b.reshape(b.matMul(sequence, weights(b, [WIDTH, WIDTH], 21)), b.int64([PATCHES, batch * HEADS, DEPTH]))
  const scores = b.matMul(query, b.transpose(keys, { perm: [1, 2, 0] }))
  const mixed = b.matMul(b.softmax(scores, { axis: -1 }), b.transpose(keys, { perm: [1, 0, 2] }))
  const merged = b.reshape(b.transpose(mixed, { perm: [1, 0, 2] }), b.int64([batch, WIDTH]))
  return b.matMul(merged, weights(b, [WIDTH, WIDTH], 22))
}

const transposed =
  ({ b }: Pen) =>
  (tokens: Value) =>
    b.transpose(tokens, { perm: [1, 0, 2] })
/** What an optimiser makes of that transposition where the batch is one image. */
const reshaped =
  ({ b }: Pen) =>
  (tokens: Value) =>
    b.reshape(tokens, b.int64([PATCHES, 1, WIDTH]))
const query = ({ b }: Pen) => weights(b, [HEADS, 1, DEPTH], 23)

describe('a batch of one image in a Reshape', () => {
  const batch = sym('batch', 1)
  const tokens = sym('tokens', 6)
  const layouts = (from: readonly Dim[], to: readonly number[]) => batchPlacements(from, to, null).map(placementKey)

  it('stands where reading order allows it first, then wherever it can be moved to', () => {
    expect(layouts([int(1), product(batch, int(2)), int(16)], [1, 32])).toEqual(['batch,32', '1,batch*32'])
    expect(layouts([batch, tokens, int(8)], [6, 1, 8])).toEqual([
      'batch*tokens,1,8',
      'tokens,batch,8',
      'tokens,1,batch*8',
    ])
  })

  it('is not moved where the batch is more than one image, or is not there', () => {
    expect(batchPlacements([sym('batch', 2), tokens, int(8)], [6, 2, 8], null)).toEqual([])
    expect(batchPlacements([tokens, int(8)], [6, 8], null)).toEqual([])
  })

  it.each([
    ['transposed', transposed],
    ['reshaped', reshaped],
  ])('is placed by what reads it: attention pooling, the sequence %s', async (_, turn) => {
    expect(await differenceOnceFreed((pen) => [pool(pen, query(pen), turn(pen), 1)])).toBeLessThan(1e-5)
  })

  it('is placed in tokens that are flattened, projected and put back', async () => {
    const draw = ({ b, tokens: rows }: Pen): Value[] => {
      const flat = b.reshape(b.transpose(rows, { perm: [1, 0, 2] }), b.int64([PATCHES, WIDTH]))
      const back = b.reshape(b.matMul(flat, weights(b, [WIDTH, WIDTH], 31)), b.int64([PATCHES, 1, WIDTH]))
      return [b.transpose(back, { perm: [1, 0, 2] })]
    }
    expect(await differenceOnceFreed(draw)).toBeLessThan(1e-5)
  })

  it('changes its place in several Reshapes where one alone would not do', async () => {
    const draw = ({ b, tokens: rows }: Pen): Value[] => {
      const pooled = b.reduceMean(rows, { axes: [1], keepdims: 0 })
      const apart = b.transpose(b.reshape(pooled, b.int64([1, 1, WIDTH])), { perm: [1, 0, 2] })
      const other = b.reshape(b.relu(pooled), b.int64([1, 1, WIDTH]))
      return [b.gather(b.add(apart, other), b.int64(0), { axis: 1 })]
    }
    expect(await differenceOnceFreed(draw)).toBeLessThan(1e-5)
  })

  it('is refused where no reading keeps images apart', () => {
    const draw = ({ b, tokens: rows }: Pen): Value[] => [
      b.reduceMean(b.reshape(rows, b.int64([1, PATCHES * WIDTH])), { axes: [0, 1], keepdims: 1 }),
    ]
    const refusal = refused(written(fixedVit(draw)), ['dynshape'])
    expect(refusal.refusals.map(({ reason }) => reason).join()).toMatch(/of all images|over the batch|splits/)
  })

  it('is told from every other reading by shapes alone', () => {
    const model = fixedVit((pen) => [pool(pen, query(pen), reshaped(pen), 1)])
    const { facts } = trace(model)
    const softmax = model.graph.nodes.find((node) => node.is('Softmax'))
    expect(placementKey(facts.dims(softmax?.input(0) ?? null) ?? [])).toBe('batch*2,1,(height/4)*(width/4)')
  })
})

describe('a constant made for a batch of several', () => {
  const repeated = ({ b }: Pen, blocks: readonly number[]) => {
    const block = noise([HEADS, 1, DEPTH], 9).data
    const data = blocks.flatMap((factor) => [...block].map((x) => x * factor))
    return b.constant(floatTensor([blocks.length * HEADS, 1, DEPTH], data))
  }

  it('keeps one block and repeats it', async () => {
    expect(await differenceOnceFreed((pen) => [pool(pen, repeated(pen, [1, 1]), transposed(pen), 2)], 2)).toBeLessThan(
      1e-5,
    )
  })

  it('is refused where its blocks differ', () => {
    const model = fixedVit((pen) => [pool(pen, repeated(pen, [1, 2]), transposed(pen), 2)], 2)
    expect(refused(written(model), ['dynshape']).refusals[0]?.reason).toContain('its slices differ')
  })
})

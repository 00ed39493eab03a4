import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import type { Model } from '../../src/ir/model.ts'
import type { Value } from '../../src/ir/value.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import type { OptionsByPass } from '../../src/pipeline/options.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import {
  attend,
  drawnImage,
  drawVit,
  inHeads,
  PATCH,
  type Pen,
  paddedAgainstAlone,
  project,
  WIDTH,
  weights,
  withClassToken,
} from '../support/drawn-vit.ts'
import { compute, largestDifference } from '../support/graphs.ts'
import type { Axis } from '../support/layout.ts'
import { type Feed, OrtRunner } from '../support/ort.ts'
import { item, padBatch, type Size } from '../support/padded.ts'
import { refused } from '../support/refused.ts'
import type { Dense } from '../support/safetensors.ts'

const SIZES: readonly Size[] = [
  { height: 16, width: 16 },
  { height: 8, width: 20 },
  { height: 4, width: 4 },
  { height: 28, width: 4 },
]
const POOLED: readonly Axis[] = ['fixed']
const TOKENS: readonly Axis[] = ['tokens', 'fixed']

function masked(model: Model, options: OptionsByPass = {}): Readonly<Record<string, number>> {
  return runPasses(registry, model, ['mask'], options).passes.at(-1)?.sites ?? {}
}

interface Fitting {
  readonly name: string
  readonly draw: (pen: Pen) => readonly Value[]
  readonly layout: readonly Axis[]
  readonly sites: Readonly<Record<string, number>>
  readonly prefix?: number
}

const pooling = (reduce: (b: Pen['b'], x: Value) => Value) => (pen: Pen) => [reduce(pen.b, attend(pen.b, pen.tokens))]
const over = { axes: [1], keepdims: 0 }

const FITTING: readonly Fitting[] = [
  {
    name: 'self-attention',
    draw: ({ b, tokens }) => [attend(b, attend(b, tokens, 10), 90)],
    layout: TOKENS,
    sites: { softmax: 2 },
  },
  {
    name: 'self-attention with a class token',
    draw: (pen) => [attend(pen.b, withClassToken(pen))],
    layout: TOKENS,
    sites: { softmax: 1 },
    prefix: 1,
  },
  {
    name: 'the class token of a few blocks',
    draw: (pen) => [pen.b.gather(attend(pen.b, withClassToken(pen)), pen.b.int64(0), { axis: 1 })],
    layout: POOLED,
    sites: { softmax: 1 },
  },
  {
    name: 'a class token that alone asks the others',
    draw: (pen) => {
      const { b } = pen
      const x = withClassToken(pen)
      const query = inHeads(b, project(b, b.slice(x, { starts: [0], ends: [1], axes: [1] }), 34))
      const scores = b.matMul(query, b.transpose(inHeads(b, project(b, x, 35)), { perm: [0, 1, 3, 2] }))
      const mixed = b.transpose(b.matMul(b.softmax(scores, { axis: -1 }), inHeads(b, x)), { perm: [0, 2, 1, 3] })
      const patches = b.slice(x, { starts: [1], ends: [2 ** 31], axes: [1] })
      return [attend(b, b.concat([b.reshape(mixed, b.int64([0, 0, WIDTH])), patches], { axis: 1 }))]
    },
    layout: TOKENS,
    sites: { softmax: 2 },
    prefix: 1,
  },
  { name: 'mean', draw: pooling((b, x) => b.reduceMean(x, over)), layout: POOLED, sites: { softmax: 1, pooling: 1 } },
  {
    name: 'mean that keeps its axis',
    draw: pooling((b, x) => b.reduceMean(x, { axes: [1], keepdims: 1 })),
    layout: ['fixed', 'fixed'],
    sites: { softmax: 1, pooling: 1 },
  },
  {
    name: 'mean over tokens and width at once',
    draw: pooling((b, x) => b.reduceMean(x, { axes: [1, 2], keepdims: 0 })),
    layout: [],
    sites: { softmax: 1, pooling: 1 },
  },
  {
    name: 'mean of the patches behind a class token',
    draw: (pen) => {
      const { b } = pen
      const x = attend(b, withClassToken(pen))
      return [b.reduceMean(b.slice(x, { starts: [1], ends: [2 ** 31], axes: [1] }), over)]
    },
    layout: POOLED,
    sites: { softmax: 1, pooling: 1 },
  },
  {
    name: 'mean of all tokens, the class token among them',
    draw: (pen) => [pen.b.reduceMean(attend(pen.b, withClassToken(pen)), over)],
    layout: POOLED,
    sites: { softmax: 1, pooling: 1 },
  },
  { name: 'sum', draw: pooling((b, x) => b.reduceSum(x, over)), layout: POOLED, sites: { softmax: 1, pooling: 1 } },
  { name: 'maximum', draw: pooling((b, x) => b.reduceMax(x, over)), layout: POOLED, sites: { softmax: 1, pooling: 1 } },
  { name: 'minimum', draw: pooling((b, x) => b.reduceMin(x, over)), layout: POOLED, sites: { softmax: 1, pooling: 1 } },
  {
    name: 'mean of the patch embedding as a map',
    draw: ({ b, grid }) => [b.reduceMean(grid, { axes: [2, 3], keepdims: 0 })],
    layout: POOLED,
    sites: { pooling: 1 },
  },
  {
    name: 'attention pooling with a learned query',
    draw: ({ b, tokens }) => {
      const query = inHeads(b, weights(b, [1, 1, WIDTH], 30))
      const scores = b.matMul(query, b.transpose(inHeads(b, project(b, tokens, 31)), { perm: [0, 1, 3, 2] }))
      const mixed = b.matMul(b.softmax(scores, { axis: -1 }), inHeads(b, project(b, tokens, 32)))
      return [b.reshape(mixed, b.int64([0, WIDTH]))]
    },
    layout: POOLED,
    sites: { softmax: 1 },
  },
  {
    name: 'attention pooling by one score for each token',
    draw: ({ b, tokens }) => {
      const weight = b.softmax(b.matMul(tokens, weights(b, [WIDTH, 1], 33)), { axis: 1 })
      return [b.reduceSum(b.mul(weight, tokens), over)]
    },
    layout: POOLED,
    sites: { softmax: 1, pooling: 1 },
  },
]

describe('a padded batch gives each image what the original gives it alone', () => {
  it.each(FITTING)('$name', async ({ draw, layout, sites, prefix }) => {
    const [original, transformed] = [drawVit(draw), drawVit(draw)]
    expect(masked(transformed)).toEqual(sites)
    const found = await paddedAgainstAlone({ original, transformed }, { y0: layout }, SIZES, prefix)
    expect(found.own).toBeLessThan(1e-5)
    const bytes = serializeModel(transformed)
    for (const again of [transformed, parseModel(bytes)]) {
      expect(runPasses(registry, again, ['mask']).passes.at(-1)?.status).toBe('already')
      expect(Buffer.compare(serializeModel(again), bytes)).toBe(0)
    }
  })

  it.each([{ opset: 11 }, { opset: 12 }, { opset: 13 }, { opset: 18 }, { opset: 21 }, { opset: 23 }])(
    'written for opset $opset',
    async ({ opset }) => {
      for (const { draw, layout } of FITTING.filter(({ name }) =>
        ['self-attention', 'mean', 'maximum'].includes(name),
      )) {
        const [original, transformed] = [drawVit(draw, { opset }), drawVit(draw, { opset })]
        masked(transformed)
        const found = await paddedAgainstAlone({ original, transformed }, { y0: layout }, SIZES)
        expect(found.own).toBeLessThan(1e-5)
      }
    },
  )

  it('an image that is all padding has finite numbers', async () => {
    const model = drawVit(({ b, tokens }) => [attend(b, tokens), b.reduceMean(tokens, over)])
    masked(model)
    const nothing = { data: new Float32Array(2 * 3 * 64), dims: [2, 3, 8, 8] }
    const outputs = await compute(model, { pixels: nothing })
    for (const { data } of outputs.values()) expect(data.every(Number.isFinite)).toBe(true)
    expect(outputs.get('y1')?.data.every((x) => x === 0)).toBe(true)
  })
})

/** Two images in one batch, answered with `image_sizes` where the model has it. */
async function answer(model: Model, pixels: Dense, sizes: readonly Size[]): Promise<Map<string, Dense>> {
  const runner = await OrtRunner.open(serializeModel(model))
  const feeds: Record<string, Feed> = { pixels }
  if (runner.inputs.includes('image_sizes')) {
    const numbers = sizes.flatMap(({ height, width }) => [BigInt(height), BigInt(width)])
    feeds.image_sizes = { data: BigInt64Array.from(numbers), dims: [sizes.length, 2] }
  }
  const outputs = await runner.run(feeds)
  await runner.close()
  return outputs
}

describe('the options', () => {
  const mean = (pen: Pen) => [pen.b.reduceMean(attend(pen.b, pen.tokens), over)]
  const alone = async (image: Dense) =>
    item((await compute(drawVit(mean), { pixels: { ...image, dims: [1, ...image.dims] } })).get('y0') as Dense, 0)
  const difference = (a: Dense, b: Dense) => largestDifference(new Map([['', a]]), new Map([['', b]]))

  /** An image with one patch set to zero. */
  function withHole(size: Size, row: number, col: number): Dense {
    const image = drawnImage(size)
    const data = image.data.map((x, i) => {
      const [y, z] = [Math.floor(i / size.width) % size.height, i % size.width]
      return Math.floor(y / PATCH) === row && Math.floor(z / PATCH) === col ? 0 : x
    })
    return { ...image, data }
  }

  it('source=sizes adds an input [batch, 2] of int64, and sees zeros at an image edge as image', async () => {
    const size = { height: 12, width: 8 }
    const image = withHole(size, 2, 0)
    const edge = {
      ...image,
      data: withHole(size, 2, 1).data.map((x, i) => x * Math.sign(Math.abs(image.data[i] ?? 0))),
    }
    const canvas = { height: 20, width: 16 }
    const bySizes = drawVit(mean)
    masked(bySizes, { mask: { source: 'sizes' } })
    const input = bySizes.graph.inputs.find(({ name }) => name === 'image_sizes')
    expect(input?.dtype).toBe('int64')
    expect(input?.declaredDims).toEqual(['batch', 2])
    const got = await answer(bySizes, padBatch([edge], canvas), [size])
    expect(difference(item(got.get('y0') as Dense, 0), await alone(edge))).toBeLessThan(1e-5)
    const byPixels = drawVit(mean)
    masked(byPixels)
    const cut = {
      data: Float32Array.from({ length: 3 * 64 }, (_, i) => edge.data[Math.floor(i / 64) * 96 + (i % 64)] ?? 0),
      dims: [3, 8, 8],
    }
    const seen = await answer(byPixels, padBatch([edge], canvas), [size])
    expect(difference(item(seen.get('y0') as Dense, 0), await alone(cut))).toBeLessThan(1e-5)
  })

  it('source=sizes does not look at pixels, floors sizes to patches and cuts them to the canvas', async () => {
    const model = drawVit(mean)
    masked(model, { mask: { source: 'sizes' } })
    const image = drawnImage({ height: 8, width: 12 })
    const canvas = { height: 12, width: 16 }
    const wanted = await alone(image)
    let n = 0
    const noisy = padBatch([image], canvas, () => (n++ % 5) + 1)
    const first = async (pixels: Dense, size: Size) => item((await answer(model, pixels, [size])).get('y0') as Dense, 0)
    expect(difference(await first(noisy, { height: 8, width: 12 }), wanted)).toBeLessThan(1e-5)
    expect(difference(await first(noisy, { height: 11, width: 15 }), wanted)).toBeLessThan(1e-5)
    expect(
      difference(await first(padBatch([image], { height: 8, width: 12 }), { height: 99, width: 99 }), wanted),
    ).toBeLessThan(1e-5)
  })

  it('mode=rect sees a zero patch inside an image, mode=patch does not', async () => {
    const size = { height: 12, width: 12 }
    const hole = withHole(size, 1, 1)
    const canvas = { height: 16, width: 24 }
    const rect = drawVit(mean)
    masked(rect)
    const seen = await answer(rect, padBatch([hole], canvas), [size])
    expect(difference(item(seen.get('y0') as Dense, 0), await alone(hole))).toBeLessThan(1e-5)
    for (const source of ['pixels', 'sizes']) {
      const patch = drawVit(mean)
      masked(patch, { mask: { mode: 'patch', source } })
      const hidden = item((await answer(patch, padBatch([hole], canvas), [size])).get('y0') as Dense, 0)
      // Without positions an image is a set of patches: eight of nine, in any layout.
      const others = [0, 1, 2, 3, 5, 6, 7, 8]
      const row: Dense = {
        data: Float32Array.from({ length: 3 * 4 * 32 }, (_, i) => {
          const [c, y, x] = [Math.floor(i / 128), Math.floor(i / 32) % 4, i % 32]
          const from = others[Math.floor(x / 4)] ?? 0
          return hole.data[c * 144 + (Math.floor(from / 3) * 4 + y) * 12 + (from % 3) * 4 + (x % 4)] ?? 0
        }),
        dims: [3, 4, 32],
      }
      expect(difference(hidden, await alone(row))).toBeLessThan(1e-5)
    }
  })

  it('padValue and tol say what padding looks like', async () => {
    const image = {
      ...drawnImage({ height: 8, width: 8 }),
      data: drawnImage({ height: 8, width: 8 }).data.map((x) => x + 5),
    }
    const model = drawVit(mean)
    masked(model, { mask: { padValue: 0.5, tol: 0.01 } })
    let n = 0
    const near = () => 0.5 + 0.009 * Math.sin(n++)
    const got = await answer(model, padBatch([image], { height: 16, width: 12 }, near), [])
    expect(difference(item(got.get('y0') as Dense, 0), await alone(image))).toBeLessThan(1e-5)
    const strict = drawVit(mean)
    masked(strict, { mask: { padValue: 0.5 } })
    const other = await answer(strict, padBatch([image], { height: 16, width: 12 }, near), [])
    expect(difference(item(other.get('y0') as Dense, 0), await alone(image))).toBeGreaterThan(1e-3)
  })

  it('source=sizes is refused where the model has an input of that name', () => {
    const model = drawVit(mean)
    const clash = parseModel(serializeModel(model))
    const [pixels = expect.fail('there is no input')] = clash.graph.inputs
    clash.graph.rename(pixels, 'image_sizes')
    expect(refused(clash, ['mask'], { mask: { source: 'sizes' } }).refusals[0]?.reason).toMatch(/image_sizes/)
  })
})

import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import type { Value } from '../../src/ir/value.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import {
  attend,
  drawnImage,
  drawVit,
  PATCH,
  type Pen,
  paddedAgainstAlone,
  scoresOf,
  WIDTH,
  withClassToken,
} from '../support/drawn-vit.ts'
import { compute } from '../support/graphs.ts'
import type { Axis } from '../support/layout.ts'
import { padBatch, type Size } from '../support/padded.ts'

const SIZES: readonly Size[] = [
  { height: 16, width: 16 },
  { height: 8, width: 20 },
  { height: 4, width: 4 },
  { height: 28, width: 4 },
]

interface Output {
  readonly name: string
  readonly draw: (pen: Pen) => Value
  readonly layout: readonly Axis[]
  readonly prefix?: number
}

const OUTPUTS: readonly Output[] = [
  { name: 'tokens', draw: ({ b, tokens }) => attend(b, tokens), layout: ['tokens', 'fixed'] },
  {
    name: 'tokens and a prefix',
    draw: (pen) => attend(pen.b, withClassToken(pen)),
    layout: ['tokens', 'fixed'],
    prefix: 1,
  },
  {
    name: 'tokens along the last axis',
    draw: ({ b, tokens }) => b.transpose(attend(b, tokens), { perm: [0, 2, 1] }),
    layout: ['fixed', 'tokens'],
  },
  { name: 'a map', draw: ({ b, grid }) => b.relu(grid), layout: ['fixed', 'rows', 'cols'] },
  {
    name: 'a map with its width last',
    draw: ({ b, grid }) => b.transpose(grid, { perm: [0, 2, 3, 1] }),
    layout: ['rows', 'cols', 'fixed'],
  },
  {
    name: 'attention weights',
    draw: ({ b, tokens }) => b.softmax(scoresOf(b, tokens, 20), { axis: -1 }),
    layout: ['fixed', 'tokens', 'tokens'],
  },
  {
    name: 'attention weights with a prefix',
    draw: (pen) => pen.b.softmax(scoresOf(pen.b, withClassToken(pen), 20), { axis: -1 }),
    layout: ['fixed', 'tokens', 'tokens'],
    prefix: 1,
  },
  {
    name: 'a pooled vector',
    draw: ({ b, tokens }) => b.reduceMean(attend(b, tokens), { axes: [1], keepdims: 0 }),
    layout: ['fixed'],
  },
]

describe('an output is exactly zero at padding, and what it was elsewhere', () => {
  it.each(OUTPUTS)('$name', async ({ draw, layout, prefix }) => {
    const make = () => drawVit((pen) => [draw(pen)])
    const [original, transformed] = [make(), make()]
    const report = runPasses(registry, transformed, ['zero'])
    expect(report.passes.at(-1)?.sites).toEqual({ output: 1 })
    expect(transformed.graph.outputs.map(({ name }) => name)).toEqual(['y0'])
    const found = await paddedAgainstAlone({ original, transformed }, { y0: layout }, SIZES, prefix)
    expect(found.own).toBeLessThan(1e-5)
    expect(found.padding).toBe(0)
    const bytes = serializeModel(transformed)
    for (const again of [transformed, parseModel(bytes)]) {
      expect(runPasses(registry, again, ['zero']).passes.at(-1)?.status).toBe('already')
      expect(Buffer.compare(serializeModel(again), bytes)).toBe(0)
    }
  })

  it('and zero everywhere for an image that is all padding, prefix and all, its companion unmoved', async () => {
    const make = () => drawVit((pen) => OUTPUTS.map(({ draw }) => draw(pen)))
    const model = make()
    runPasses(registry, model, ['zero'])
    const image = drawnImage({ height: 8, width: 12 })
    const empty = { data: new Float32Array(3 * 16), dims: [3, PATCH, PATCH] }
    const canvas = { height: 12, width: 12 }
    const [together, alone] = [
      await compute(model, { pixels: padBatch([empty, image], canvas) }),
      await compute(model, { pixels: padBatch([image], canvas) }),
    ]
    expect(together.size).toBe(OUTPUTS.length)
    for (const [name, { data }] of together) {
      const half = data.length / 2
      expect(data.subarray(0, half).every((x) => x === 0)).toBe(true)
      const other = alone.get(name)?.data ?? []
      expect(
        Math.max(...Array.from(data.subarray(half), (x, i) => Math.abs(x - (other[i] ?? Number.NaN)))),
      ).toBeLessThan(1e-6)
    }
  })
})

it('an output that no pixel reaches stays, and one that is given twice is zeroed twice', async () => {
  const model = drawVit(({ b, tokens }) => {
    const mixed = attend(b, tokens)
    return [mixed, b.identity(b.float(new Array(WIDTH).fill(2))), b.identity(mixed)]
  })
  expect(runPasses(registry, model, ['zero']).passes.at(-1)?.sites).toEqual({ output: 2 })
  const outputs = await compute(model, {
    pixels: padBatch([drawnImage({ height: 4, width: 4 })], { height: 4, width: 8 }),
  })
  expect([...(outputs.get('y1')?.data ?? [])]).toEqual(new Array(WIDTH).fill(2))
  for (const name of ['y0', 'y2']) {
    const data = outputs.get(name)?.data ?? expect.fail(`${name} is missing`)
    expect(data.subarray(WIDTH).every((x) => x === 0)).toBe(true)
    expect(data.subarray(0, WIDTH).some((x) => x !== 0)).toBe(true)
  }
})

it('an output that is not a number at padding is zero there all the same', async () => {
  const model = drawVit(({ b, tokens, pixels }) => {
    const peaks = b.maxPool(b.abs(pixels), { kernel_shape: [PATCH, PATCH], strides: [PATCH, PATCH] })
    const size = b.reduceMax(peaks, { axes: [1], keepdims: 1 })
    const flat = b.transpose(b.reshape(size, b.int64([0, 1, -1])), { perm: [0, 2, 1] })
    return [b.div(tokens, flat)]
  })
  const outcome = () => runPasses(registry, model, ['zero'])
  expect(outcome).not.toThrow()
  const outputs = await compute(model, {
    pixels: padBatch([drawnImage({ height: 4, width: 4 })], { height: 8, width: 8 }),
  })
  expect(
    outputs
      .get('y0')
      ?.data.subarray(WIDTH)
      .every((x) => x === 0),
  ).toBe(true)
})

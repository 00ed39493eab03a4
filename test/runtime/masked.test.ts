import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { HINTS_KEY } from '../../src/batching/hints.ts'
import { readModel } from '../../src/onnx/node.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { chooseStrategy } from '../../src/runtime/choose-strategy.ts'
import { readEncoderModel } from '../../src/runtime/encoder-model.ts'
import type { Image } from '../../src/runtime/index.ts'
import { fixture } from '../support/fixtures.ts'
import { distance, encoderFor, noiseImage, padproof, rowOf } from './encoder.ts'

const path = fixture('vit-p16-g4/ts17-eager-interp.onnx').path
const half = fixture('vit-p8-g4-fp16/ts17-eager-interp-fp16.onnx').path
const OPTIONS = { batchTokens: 1000, batchBytes: 1e8, maxPadding: 0.1, lanes: 1 }

/** A noise image whose last rows, and last columns, hold one value. */
function withEdges(height: number, width: number, value: number): Image {
  const image = noiseImage(height, width)
  for (const [i] of image.data.entries()) {
    if (Math.floor(i / width) % height >= height / 2 || i % width >= width / 2) image.data[i] = value
  }
  return image
}

/** Largest distance to the untouched export, which runs images of each size by themselves. */
async function farthest(original: string, transformed: string, images: readonly Image[]): Promise<number> {
  const alone = await (await encoderFor(original)).encode(images)
  const encoded = await (await encoderFor(transformed)).encode(images)
  return Math.max(...images.map((_, i) => distance(rowOf(encoded, i), rowOf(alone, i))))
}

describe('images whose own edges look like padding', () => {
  it.each([
    ['pixels', {}, 0],
    ['sizes', { source: 'sizes' }, 0],
    ['another padding value', { padValue: 0.5 }, 0.5],
    ['a value that is no 32-bit number', { padValue: -0.1 }, Math.fround(-0.1)],
    ['a tolerance', { tol: 1e-6 }, 5e-7],
    ['both', { padValue: -2, tol: 1e-6 }, -2],
  ])('keep their rows and columns: %s', async (_, mask, value) => {
    const images = [withEdges(64, 96, value), noiseImage(80, 96), withEdges(32, 64, value), withEdges(64, 96, 3)]
    expect(await farthest(path, await padproof(path, { mask }), images)).toBeLessThan(1e-5)
  })

  it('keep them in half precision', async () => {
    const images = [withEdges(32, 48, 0), noiseImage(40, 40), withEdges(16, 48, 1e-9)]
    expect(await farthest(half, await padproof(half), images)).toBeLessThan(5e-3)
  })

  it('are refused where nothing could tell them from padding', async () => {
    const coarse = await encoderFor(await padproof(path, { mask: { tol: 0.01 } }))
    await expect(coarse.encode([withEdges(64, 64, 0)])).rejects.toMatchObject({
      code: 'BAD_IMAGE',
      message: expect.stringMatching(/tol=0.01 is too coarse/),
      remedy: expect.stringMatching(/mask.source=sizes/),
    })
    const patches = await encoderFor(await padproof(path, { mask: { mode: 'patch' } }))
    await expect(patches.encode([withEdges(64, 64, 0)])).rejects.toThrow(/masks every patch of padding/)
    expect((await patches.encode([noiseImage(64, 64)])).dims).toEqual([1, 32])
  })
})

describe('a model that is masked only', () => {
  it('runs images of equal size together', async () => {
    const masked = await padproof(path, {}, ['mask'])
    const encoder = await encoderFor(masked)
    expect(encoder.strategy.why).toMatch(/only images of equal size/)
    const images = [noiseImage(64, 64), noiseImage(32, 64), noiseImage(64, 64, 3), withEdges(32, 64, 0)]
    expect(await farthest(path, masked, images)).toBeLessThan(1e-5)
  })
})

describe('patch mode', () => {
  it('leaves masked patches out of a mean over tokens', async () => {
    const options = { output: 'last_hidden_state' }
    const encoder = await encoderFor(await padproof(path, { mask: { mode: 'patch' } }), options)
    const image = noiseImage(48, 48)
    // The patch in the middle is black.
    for (const [i] of image.data.entries()) {
      const [y, x] = [Math.floor(i / 48) % 48, i % 48]
      if (y >= 16 && y < 32 && x >= 16 && x < 32) image.data[i] = 0
    }
    const row = rowOf(await encoder.encode([image, noiseImage(64, 64)]), 0)
    const raw = await padproof(path, { mask: { mode: 'patch' } })
    const alone = rowOf(await (await encoderFor(raw, { ...options, workers: 0 })).encode([image]), 0)
    expect(distance(row, alone)).toBeLessThan(1e-5)
    expect(row.some((x) => x !== 0)).toBe(true)
  })
})

describe('bucket hints', () => {
  it('are padded to', async () => {
    const model = parseModel(readFileSync(await padproof(path)))
    const hints = {
      version: 1,
      patch: { height: 16, width: 16 },
      prefix: 1,
      buckets: [{ height: 32, width: 64, batch: 2 }],
    }
    model.setMetadata(HINTS_KEY, JSON.stringify(hints))
    const bytes = serializeModel(model)
    const strategy = chooseStrategy(await readEncoderModel(bytes), OPTIONS)
    const images = [noiseImage(32, 64), noiseImage(16, 33), noiseImage(20, 20), noiseImage(96, 16)]
    const plan = strategy.plan(images).map(({ members, height, width }) => [members, height, width])
    expect(plan).toEqual([
      [[0, 1], 32, 64],
      [[2], 32, 64],
      [[3], 96, 16],
    ])
    const alone = await (await encoderFor(path)).encode(images)
    const encoded = await (await encoderFor(bytes)).encode(images)
    expect(distance(encoded.data, alone.data)).toBeLessThan(1e-5)
  })
})

describe('models that no strategy fits', () => {
  it('are refused, with the reason of each', async () => {
    const model = await readModel(path)
    const two = await readEncoderModel(path)
    const [input] = two.inputs
    const inputs = [input ?? expect.fail(), { name: 'second', dtype: 'float', dims: [1, 3, 8, 8] } as const]
    expect(model.graph.inputs).toHaveLength(1)
    expect(() => chooseStrategy({ ...two, inputs }, OPTIONS)).toThrow(
      /it takes several inputs: .*second \(float \[1, 3, 8, 8\]\)/,
    )
    expect(() => chooseStrategy({ ...two, outputs: [] }, OPTIONS)).toThrow(/no float output/)
  })
})

import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { readAnatomy } from '../../src/analysis/anatomy.ts'
import { resampled } from '../../src/analysis/resample.ts'
import { TensorOption } from '../../src/index.ts'
import type { Model } from '../../src/ir/model.ts'
import { floatTensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import type { OptionsByPass } from '../../src/pipeline/options.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { chooseStrategy } from '../../src/runtime/choose-strategy.ts'
import { readEncoderModel } from '../../src/runtime/encoder-model.ts'
import {
  attend,
  type Drawing,
  drawnImage,
  drawVit,
  gridShape,
  PATCH,
  type Pen,
  paddedAgainstAlone,
  WIDTH,
  weights,
} from '../support/drawn-vit.ts'
import { compute, noise } from '../support/graphs.ts'
import { padBatch } from '../support/padded.ts'
import { refused } from '../support/refused.ts'
import type { Dense } from '../support/safetensors.ts'

const BEHIND = 3
const SIZES = [
  { height: 16, width: 16 },
  { height: 8, width: 20 },
  { height: 4, width: 4 },
]
const PREFIX = noise([1, WIDTH], 31)
const SUFFIX = noise([BEHIND, WIDTH], 32)
const TABLE = noise([6, 6, WIDTH], 33)

/** Positions of every token: [1, 1 + patches + 3, 8]. */
type Draw = (pen: Pen) => Value

/** The table resized by the graph, between the rows of the tokens around the patches. */
const following: Draw = (pen) => {
  const { b } = pen
  const stored = b.transpose(b.constant(floatTensor([1, 6, 6, WIDTH], TABLE.data)), { perm: [0, 3, 1, 2] })
  const sizes = b.concat([b.int64([1, WIDTH]), gridShape(pen)], { axis: 0 })
  const rows = b.reshape(b.resize(stored, { sizes, mode: 'linear' }), b.int64([1, WIDTH, -1]))
  const front = b.constant(floatTensor([1, 1, WIDTH], PREFIX.data))
  const back = b.constant(floatTensor([1, BEHIND, WIDTH], SUFFIX.data))
  return b.concat([front, b.transpose(rows, { perm: [0, 2, 1] }), back], { axis: 1 })
}

/** What an export at one size keeps. */
const kept =
  (rows: number, cols: number): Draw =>
  ({ b }) => {
    const table = resampled(
      { ...TABLE, data: Float64Array.from(TABLE.data) },
      { rows, cols },
      { kind: 'bilinear', offset: 0 },
    )
    const data = [...PREFIX.data, ...table, ...SUFFIX.data]
    return b.constant(floatTensor([1, 1 + rows * cols + BEHIND, WIDTH], data))
  }

/** A detector: a class token, patches, and 3 detection tokens, two blocks, positions before each. */
function detector(positions: Draw, drawing: Drawing = {}): Model {
  return drawVit((pen) => {
    const { b, tokens } = pen
    const batch = b.gather(b.shape(tokens), b.int64([0]), { axis: 0 })
    const learned = (count: number, seed: number) =>
      b.expand(weights(b, [1, count, WIDTH], seed), b.concat([batch, b.int64([count, WIDTH])], { axis: 0 }))
    let x = b.concat([learned(1, 3), tokens, learned(BEHIND, 4)], { axis: 1 })
    for (const seed of [10, 30]) x = attend(b, b.add(x, positions(pen)), seed)
    const cut = (starts: number[], ends: number[]) => b.slice(x, { starts, ends, axes: [1] })
    return [cut([1], [-BEHIND]), cut([-BEHIND], [2 ** 31 - 1]), x]
  }, drawing)
}

function proofed(model: Model, options: OptionsByPass = {}): Model {
  runPasses(registry, model, ['padproof'], options)
  return model
}

const original = () => detector(following)
const table = (dims: readonly number[], data: readonly number[]) => new TensorOption(dims, Float64Array.from(data))

describe('tokens behind the patches', () => {
  it.each<[string, () => Model]>([
    ['of a table that the graph resizes', () => proofed(detector(following))],
    [
      'of a table baked in at its own size',
      () => proofed(detector(kept(6, 6), { dims: [1, 3, 6 * PATCH, 6 * PATCH] }), { posenc: { kind: 'bilinear' } }),
    ],
    [
      'of a table baked in at another size, its own given with all rows',
      () =>
        proofed(detector(kept(3, 5), { dims: [1, 3, 3 * PATCH, 5 * PATCH] }), {
          posenc: { table: table([1, 40, WIDTH], [...PREFIX.data, ...TABLE.data, ...SUFFIX.data]) },
        }),
    ],
    [
      'of a table baked in at another size, its own given alone',
      () =>
        proofed(detector(kept(3, 5), { dims: [1, 3, 3 * PATCH, 5 * PATCH] }), {
          posenc: { table: table([6, 6, WIDTH], [...TABLE.data]) },
        }),
    ],
  ])('%s: every image gets what it gets alone', async (_, make) => {
    const models = { original: original(), transformed: make() }
    const found = await paddedAgainstAlone(models, { y0: ['tokens', 'fixed'], y1: ['fixed', 'fixed'] }, SIZES)
    expect(found.own).toBeLessThan(2e-5)
    expect(found.padding).toBe(0)
  })

  it('stay where padding is zeroed', async () => {
    const images = SIZES.map((size, i) => drawnImage(size, i + 1))
    const outputs = await compute(proofed(original()), { pixels: padBatch(images, { height: 20, width: 24 }) })
    const [last, all] = [outputs.get('y1'), outputs.get('y2')] as [Dense, Dense]
    const length = 1 + 5 * 6 + BEHIND
    expect(all.dims).toEqual([SIZES.length, length, WIDTH])
    for (const i of SIZES.keys()) {
      const behind = all.data.slice(((i + 1) * length - BEHIND) * WIDTH, (i + 1) * length * WIDTH)
      expect(behind).toEqual(last.data.slice(i * BEHIND * WIDTH, (i + 1) * BEHIND * WIDTH))
      expect(behind.every((x) => x !== 0)).toBe(true)
    }
  })

  it('are told by inspection', () => {
    expect(readAnatomy(original()).positions).toMatchObject([{ kind: 'table', prefix: 1, suffix: BEHIND, sites: 2 }])
  })

  it('refuse a given table whose rows for them differ', () => {
    const other = table([40, WIDTH], [...PREFIX.data, ...TABLE.data, ...noise([BEHIND, WIDTH], 39).data])
    const model = detector(kept(3, 5), { dims: [1, 3, 3 * PATCH, 5 * PATCH] })
    const [first] = refused(model, ['posenc'], { posenc: { table: other } }).refusals
    expect(first?.reason).toMatch(/other rows for the tokens around the patches/)
  })

  it('refuse computed positions', () => {
    const model = detector((pen) => {
      const { b } = pen
      const count = b.gather(b.shape(pen.tokens), b.int64(1), { axis: 0 })
      const numbers = b.cast(b.range(b.int64(0), count, b.int64(1)), { to: 'float' })
      const waves = b.sin(b.mul(b.unsqueeze(numbers, { axes: [0, 2] }), weights(b, [1, 1, WIDTH], 40)))
      const front = b.constant(floatTensor([1, 1, WIDTH], PREFIX.data))
      return b.concat([front, waves, b.constant(floatTensor([1, BEHIND, WIDTH], SUFFIX.data))], { axis: 1 })
    })
    expect(refused(model, ['posenc']).refusals[0]?.reason).toMatch(/tokens that stand behind the patches/)
  })

  it('keep images of other sizes apart in the encoder where padding is not zeroed', async () => {
    const plan = { batchTokens: 4096, batchBytes: 2 ** 28, maxPadding: 0.2, lanes: 1 }
    const why = async (passes: readonly string[]) => {
      const model = original()
      runPasses(registry, model, passes)
      return chooseStrategy(await readEncoderModel(serializeModel(model)), plan).why
    }
    expect(await why(['mask', 'posenc'])).toMatch(/other tokens stand behind the patches/)
    expect(await why(['padproof'])).toMatch(/padding-proof/)
  })
})

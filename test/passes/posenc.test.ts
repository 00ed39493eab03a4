import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { RESIZE_KINDS, type ResizeKind } from '../../src/analysis/positions.ts'
import type { Model } from '../../src/ir/model.ts'
import type { Value } from '../../src/ir/value.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import type { OptionsByPass } from '../../src/pipeline/options.ts'
import type { PassReport } from '../../src/pipeline/report.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import {
  attend,
  type Drawing,
  drawnImage,
  drawVit,
  gridShape,
  PATCH,
  type Pen,
  WIDTH,
  weights,
  withClassToken,
} from '../support/drawn-vit.ts'
import { compute, noise } from '../support/graphs.ts'
import { type Grid, item, padBatch } from '../support/padded.ts'
import { refused } from '../support/refused.ts'
import { resizeTable } from '../support/resampling.ts'
import type { Dense } from '../support/safetensors.ts'

const SEED = 5
const HOW = {
  cubic: { mode: 'cubic', cubic_coeff_a: -0.75 },
  bilinear: { mode: 'linear' },
  'aa-cubic': { mode: 'cubic', cubic_coeff_a: -0.5, antialias: 1, exclude_outside: 1 },
  'aa-bilinear': { mode: 'linear', antialias: 1, exclude_outside: 1 },
} as const

const GRIDS: readonly Grid[] = [
  { rows: 5, cols: 3 },
  { rows: 4, cols: 4 },
  { rows: 2, cols: 9 },
  { rows: 7, cols: 1 },
  { rows: 1, cols: 1 },
  { rows: 11, cols: 13 },
]

/** The numbers that `weights` puts into a table [1, width, rows, cols]. */
const stored = (dims: readonly number[]) => noise(dims, SEED * 7919).data.map((x) => x * 0.4)

/** A table [1, 8, rows, cols] resized to the patch grid: [1, patches, 8]. */
function resized(pen: Pen, native: Grid, kind: ResizeKind): Value {
  const { b } = pen
  const table = weights(b, [1, WIDTH, native.rows, native.cols], SEED)
  const sizes = b.concat([b.int64([1, WIDTH]), gridShape(pen)], { axis: 0 })
  const wide = b.resize(table, { sizes, coordinate_transformation_mode: 'half_pixel', ...HOW[kind] })
  return b.transpose(b.reshape(wide, b.int64([1, WIDTH, -1])), { perm: [0, 2, 1] })
}

/** A model that answers its tokens with positions (y0) and without (y1). */
function tokensWith(
  positions: (pen: Pen) => Value,
  drawing: Drawing = {},
  place: (pen: Pen) => Value = (p) => p.tokens,
) {
  return () =>
    drawVit(
      (pen) => {
        const tokens = place(pen)
        return [pen.b.add(tokens, positions(pen)), pen.b.identity(tokens)]
      },
      { opset: 18, ...drawing },
    )
}

/** [rows, cols, 8] of what positions add to one image's patches on the padded grid. */
async function added(model: Model, grids: readonly Grid[]): Promise<{ own: number[]; padding: number[] }[]> {
  const images = grids.map(({ rows, cols }, i) => drawnImage({ height: rows * PATCH, width: cols * PATCH }, i + 1))
  const [rows, cols] = [Math.max(...grids.map((g) => g.rows)) + 2, Math.max(...grids.map((g) => g.cols)) + 1]
  const outputs = await compute(model, { pixels: padBatch(images, { height: rows * PATCH, width: cols * PATCH }) })
  const [withPositions, without] = ['y0', 'y1'].map((name) => outputs.get(name) as Dense) as [Dense, Dense]
  const prefix = (withPositions.dims[1] ?? 0) - rows * cols
  return grids.map((grid, b) => {
    const [own, padding]: [number[], number[]] = [[], []]
    const [a, c] = [item(withPositions, b).data, item(without, b).data]
    for (let t = prefix; t < prefix + rows * cols; t += 1) {
      const [row, col] = [Math.floor((t - prefix) / cols), (t - prefix) % cols]
      const into = row < grid.rows && col < grid.cols ? own : padding
      for (let d = 0; d < WIDTH; d += 1) into.push((a[t * WIDTH + d] ?? Number.NaN) - (c[t * WIDTH + d] ?? 0))
    }
    return { own, padding }
  })
}

function largest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length)
  return Array.from(a).reduce((worst, x, i) => Math.max(worst, Math.abs(x - (b[i] ?? Number.NaN))), 0)
}

function posenc(model: Model, options: OptionsByPass = {}): PassReport {
  return runPasses(registry, model, ['posenc'], options).passes.at(-1) ?? expect.fail('nothing ran')
}

/** The table as [rows, cols, hidden], out of [1, hidden, rows, cols]. */
function byPlace({ rows, cols }: Grid): { data: Float32Array; dims: number[] } {
  const channels = stored([1, WIDTH, rows, cols])
  const data = Float32Array.from({ length: channels.length }, (_, i) => {
    const [place, d] = [Math.floor(i / WIDTH), i % WIDTH]
    return channels[d * rows * cols + place] ?? Number.NaN
  })
  return { data, dims: [rows, cols, WIDTH] }
}

describe.each(RESIZE_KINDS)('a table resized in the graph, %s', (kind) => {
  it.each([
    { rows: 4, cols: 4 },
    { rows: 5, cols: 3 },
    { rows: 1, cols: 6 },
    { rows: 14, cols: 14 },
  ])('lies on each image own grid, as ONNX Runtime resizes it alone, native $rows x $cols', async (native) => {
    const draw = tokensWith((pen) => resized(pen, native, kind))
    const [original, transformed] = [draw(), draw()]
    expect(posenc(transformed)).toMatchObject({ status: 'applied', sites: { 'position table': 1 } })
    expect(transformed.graph.nodes.map((node) => node.opType)).not.toContain('Resize')
    const together = await added(transformed, GRIDS)
    for (const [i, grid] of GRIDS.entries()) {
      const alone = await compute(original, {
        pixels: noise([1, 3, grid.rows * PATCH, grid.cols * PATCH]),
      })
      const [a, b] = [alone.get('y0')?.data ?? [], alone.get('y1')?.data ?? []]
      const wanted = Array.from(a, (x, at) => x - (b[at] ?? Number.NaN))
      expect(largest(together[i]?.own ?? [], wanted)).toBeLessThan(2e-5)
      expect(largest(wanted, resizeTable(kind, byPlace(native), grid))).toBeLessThan(2e-5)
      expect(together[i]?.padding.every((x) => x === 0)).toBe(true)
    }
  })
})

describe('a table stored for one size', () => {
  const square = tokensWith(({ b }) => weights(b, [1, 16, WIDTH], SEED), { dims: ['batch', 3, 16, 16] })
  const table = { data: stored([1, 16, WIDTH]), dims: [4, 4, WIDTH] }

  it('is taken as the native grid and resized by cubic interpolation, which the report says', async () => {
    const model = square()
    const report = posenc(model)
    expect(report.notes.join()).toMatch(/4x4 grid; assumed to be resized by cubic/)
    for (const [i, { own, padding }] of (await added(model, GRIDS)).entries()) {
      expect(largest(own, resizeTable('cubic', table, GRIDS[i] as Grid))).toBeLessThan(2e-5)
      expect(padding.every((x) => x === 0)).toBe(true)
    }
  })

  it.each(RESIZE_KINDS)('is resized by %s where the option says so', async (kind) => {
    const model = square()
    expect(posenc(model, { posenc: { kind } }).notes.join()).toMatch(`resized by ${kind} as asked`)
    for (const [i, { own }] of (await added(model, GRIDS)).entries()) {
      expect(largest(own, resizeTable(kind, table, GRIDS[i] as Grid))).toBeLessThan(2e-5)
    }
  })

  const oblong = tokensWith(({ b }) => weights(b, [1, 6, WIDTH], SEED), { dims: ['batch', 3, 2 * PATCH, 3 * PATCH] })

  it('is refused on a grid that is not square, unless the option says that it is the native one', async () => {
    expect(refused(oblong(), ['posenc']).refusals[0]?.remedy).toMatch(/posenc\.native=2x3/)
    const model = oblong()
    expect(posenc(model, { posenc: { native: '2x3' } }).status).toBe('applied')
    for (const [i, { own }] of (await added(model, GRIDS)).entries()) {
      const wanted = resizeTable('cubic', { data: stored([1, 6, WIDTH]), dims: [2, 3, WIDTH] }, GRIDS[i] as Grid)
      expect(largest(own, wanted)).toBeLessThan(2e-5)
    }
  })

  it('is refused where the option gives another number of entries', () => {
    expect(refused(square(), ['posenc'], { posenc: { native: '3x5' } }).refusals[0]?.reason).toMatch(/16 entries/)
  })

  it.each(['4', '4x', 'x4', '4 x 4', '-4x4', 'four'])('stops at a native grid of "%s"', (native) => {
    expect(() => posenc(square(), { posenc: { native } })).toThrow(
      expect.objectContaining({ code: 'BAD_OPTION', message: `option posenc.native cannot be "${native}"` }),
    )
  })

  it('may come with rows for the prefix, which stay', async () => {
    const draw = tokensWith(({ b }) => weights(b, [1, 17, WIDTH], SEED), { dims: ['batch', 3, 16, 16] }, withClassToken)
    const [original, model] = [draw(), draw()]
    posenc(model)
    const pixels = padBatch([drawnImage({ height: 16, width: 16 })], { height: 24, width: 20 })
    const [alone, together] = [
      await compute(original, {
        pixels: { ...pixels, ...{ data: drawnImage({ height: 16, width: 16 }).data, dims: [1, 3, 16, 16] } },
      }),
      await compute(model, { pixels }),
    ]
    const first = (outputs: ReadonlyMap<string, Dense>) => outputs.get('y0')?.data.subarray(0, WIDTH) ?? []
    expect(largest(first(alone), first(together))).toBeLessThan(1e-6)
    const patches = { data: stored([1, 17, WIDTH]).subarray(WIDTH), dims: [4, 4, WIDTH] }
    for (const [i, { own }] of (await added(model, GRIDS)).entries()) {
      expect(largest(own, resizeTable('cubic', patches, GRIDS[i] as Grid))).toBeLessThan(2e-5)
    }
  })
})

describe('scales with 0.1 added, as older libraries export them', () => {
  const native = { rows: 4, cols: 4 }
  const traced = { rows: 3, cols: 5 }
  const draw = tokensWith(
    (pen) => {
      const { b } = pen
      const table = weights(b, [1, WIDTH, native.rows, native.cols], SEED)
      const scales = b.float([1, 1, (traced.rows + 0.1) / native.rows, (traced.cols + 0.1) / native.cols])
      const wide = b.resize(table, { scales, coordinate_transformation_mode: 'half_pixel', ...HOW.cubic })
      return b.transpose(b.reshape(wide, b.int64([1, WIDTH, -1])), { perm: [0, 2, 1] })
    },
    { dims: ['batch', 3, traced.rows * PATCH, traced.cols * PATCH] },
  )

  it('add 0.1 at every size but the native one', async () => {
    const model = draw()
    expect(posenc(model).status).toBe('applied')
    const grids = [...GRIDS, traced, { rows: 4, cols: 6 }]
    for (const [i, { own, padding }] of (await added(model, grids)).entries()) {
      const wanted = resizeTable('cubic', byPlace(native), grids[i] as Grid, 0.1)
      expect(largest(own, wanted)).toBeLessThan(5e-5)
      expect(padding.every((x) => x === 0)).toBe(true)
    }
  })
})

describe('tables in unusual places', () => {
  const native = { rows: 4, cols: 4 }
  const sum = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.from(a, (x, i) => x + (b[i] ?? Number.NaN))

  it('two of them, one in the graph and one stored for one size, are both placed', async () => {
    const model = tokensWith(
      (pen) => weights(pen.b, [1, 16, WIDTH], SEED),
      { dims: ['batch', 3, 16, 16] },
      (pen) => pen.tokens,
    )
    const twice = drawVit(
      (pen) => {
        const once = pen.b.add(pen.tokens, resized(pen, { rows: 3, cols: 3 }, 'bilinear'))
        return [pen.b.add(once, weights(pen.b, [1, 16, WIDTH], SEED)), pen.b.identity(pen.tokens)]
      },
      { opset: 18, dims: ['batch', 3, 16, 16] },
    )
    expect(posenc(twice).sites).toEqual({ 'position table': 2 })
    expect(posenc(model()).sites).toEqual({ 'position table': 1 })
    for (const [i, { own }] of (await added(twice, GRIDS)).entries()) {
      const grid = GRIDS[i] as Grid
      const baked = resizeTable('cubic', { data: stored([1, 16, WIDTH]), dims: [4, 4, WIDTH] }, grid)
      const drawn = resizeTable('bilinear', byPlace({ rows: 3, cols: 3 }), grid)
      expect(largest(own, sum(baked, drawn))).toBeLessThan(2e-5)
    }
  })

  it('added to the patches before the prefix is put in front', async () => {
    const draw = () =>
      drawVit(
        (pen) => {
          const placed = { ...pen, tokens: pen.b.add(pen.tokens, resized(pen, native, 'cubic')) }
          return [withClassToken(placed), withClassToken(pen)]
        },
        { opset: 18 },
      )
    const model = draw()
    expect(posenc(model).sites).toEqual({ 'position table': 1 })
    for (const [i, { own, padding }] of (await added(model, GRIDS)).entries()) {
      expect(largest(own, resizeTable('cubic', byPlace(native), GRIDS[i] as Grid))).toBeLessThan(2e-5)
      expect(padding.every((x) => x === 0)).toBe(true)
    }
  })

  it('added to tokens that are laid out before the batch', async () => {
    const model = drawVit(
      (pen) => {
        const { b } = pen
        const turn = (x: Value) => b.transpose(x, { perm: [1, 0, 2] })
        return [turn(b.add(turn(pen.tokens), turn(resized(pen, native, 'cubic')))), b.identity(pen.tokens)]
      },
      { opset: 18 },
    )
    expect(posenc(model).status).toBe('applied')
    for (const [i, { own }] of (await added(model, GRIDS)).entries()) {
      expect(largest(own, resizeTable('cubic', byPlace(native), GRIDS[i] as Grid))).toBeLessThan(2e-5)
    }
  })
})

it('finds nothing to do without positions, and leaves the model as dynshape left it', () => {
  const model = drawVit(({ b, tokens }) => [attend(b, tokens)])
  runPasses(registry, model, ['dynshape'])
  const bytes = serializeModel(model)
  expect(posenc(model).status).toBe('nothing')
  expect(Buffer.compare(serializeModel(model), bytes)).toBe(0)
})

describe('a Resize that no library writes', () => {
  const strange = (how: object) =>
    drawVit(
      (pen) => {
        const { b } = pen
        const sizes = b.concat([b.int64([1, WIDTH]), gridShape(pen)], { axis: 0 })
        const wide = b.resize(weights(b, [1, WIDTH, 4, 4], SEED), { sizes, ...how })
        return [b.add(pen.tokens, b.transpose(b.reshape(wide, b.int64([1, WIDTH, -1])), { perm: [0, 2, 1] }))]
      },
      { opset: 18 },
    )

  it.each([
    ['nearest neighbours', { mode: 'nearest' }, /mode "nearest"/],
    ['aligned corners', { mode: 'linear', coordinate_transformation_mode: 'align_corners' }, /align_corners/],
    ['another coefficient', { mode: 'cubic', cubic_coeff_a: -0.6 }, /cubic_coeff_a -0.6/],
    ['antialias that keeps what is outside', { mode: 'cubic', antialias: 1 }, /antialias without exclude_outside/],
    ['edges left out', { mode: 'cubic', exclude_outside: 1 }, /exclude_outside without antialias/],
  ])('%s is refused', (_, how, reason) => {
    const [first] = refused(strange(how), ['posenc']).refusals
    expect(first?.reason).toMatch(reason)
    expect(first?.node).toMatch(/^Resize /)
  })

  it('is replaced where the option says how the library resizes', async () => {
    const model = strange({ mode: 'nearest' })
    expect(posenc(model, { posenc: { kind: 'cubic' } }).status).toBe('applied')
  })
})

import { describe, expect, it } from 'vitest'
import { RESIZE_KINDS } from '../../src/analysis/resize-kind.ts'
import { attr } from '../../src/ir/attribute.ts'
import type { Model } from '../../src/ir/model.ts'
import type { Value } from '../../src/ir/value.ts'
import {
  added,
  byPlace,
  GRIDS,
  largest,
  posenc,
  resized,
  SEED,
  stored,
  tokensWith,
} from '../support/drawn-positions.ts'
import { attend, drawnImage, drawVit, PATCH, WIDTH, weights, withClassToken } from '../support/drawn-vit.ts'
import { compute, noise } from '../support/graphs.ts'
import { type Grid, padBatch } from '../support/padded.ts'
import { refused } from '../support/refused.ts'
import { resizeTable } from '../support/resampling.ts'
import type { Dense } from '../support/safetensors.ts'

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

describe('a table of the native grid, stored as exporters store it', () => {
  const native = { rows: 4, cols: 4 }
  const dims = ['batch', 3, 16, 16]
  const patches = (rows: number, prefix: number) => ({
    data: stored([1, prefix + rows * rows, WIDTH]).subarray(prefix * WIDTH),
    dims: [rows, rows, WIDTH],
  })

  const FORMS: Readonly<Record<string, { readonly prefix: number; readonly draw: () => Model }>> = {
    'without the axis of the batch': {
      prefix: 0,
      draw: tokensWith(({ b }) => weights(b, [16, WIDTH], SEED), { dims }),
    },
    'picked by stored numbers': {
      prefix: 1,
      draw: tokensWith(
        ({ b }) => {
          const ids = b.int64(Array.from({ length: 17 }, (_, i) => i))
          return b.unsqueeze(b.gather(weights(b, [17, WIDTH], SEED), ids, { axis: 0 }), { axes: [0] })
        },
        { dims },
        withClassToken,
      ),
    },
    'behind two tokens': {
      prefix: 2,
      draw: tokensWith(
        ({ b }) => weights(b, [1, 18, WIDTH], SEED),
        { dims },
        (pen) => withClassToken({ ...pen, tokens: withClassToken(pen) }),
      ),
    },
    'as the sum of what it holds and a constant': {
      prefix: 0,
      draw: tokensWith(({ b }) => b.add(b.mul(weights(b, [1, 16, WIDTH], SEED), b.float(2)), b.float(-0)), { dims }),
    },
    'for each of the images of a batch of two': {
      prefix: 0,
      draw: tokensWith(
        ({ b }) => b.concat([weights(b, [1, 16, WIDTH], SEED), weights(b, [1, 16, WIDTH], SEED)], { axis: 0 }),
        { dims: [2, 3, 16, 16] },
      ),
    },
  }

  it.each(Object.entries(FORMS))('%s', async (name, { prefix, draw }) => {
    const model = draw()
    expect(posenc(model)).toMatchObject({ status: 'applied', sites: { 'position table': 1 } })
    const table = patches(native.rows, prefix)
    const twice = name.startsWith('as the sum') ? { ...table, data: table.data.map((x) => 2 * x) } : table
    for (const [i, { own, padding }] of (await added(model, GRIDS)).entries()) {
      expect(largest(own, resizeTable('cubic', twice, GRIDS[i] as Grid))).toBeLessThan(3e-5)
      expect(padding.every((x) => x === 0)).toBe(true)
    }
  })

  it('and swallowed by the normalisation after it', async () => {
    const draw = () =>
      drawVit(
        ({ b, graph, tokens }) => {
          const ones = b.float(new Array(WIDTH).fill(1))
          const inputs = [tokens, weights(b, [1, 16, WIDTH], SEED), ones, b.float(new Array(WIDTH).fill(0))]
          const [skip] = graph.emit('SkipLayerNormalization', inputs, {
            domain: 'com.microsoft',
            attributes: { epsilon: attr.float(1e-5) },
          })
          return [attend(b, skip ?? tokens)]
        },
        { dims: [1, 3, 16, 16] },
      )
    const [original, model] = [draw(), draw()]
    expect(posenc(model).sites).toEqual({ 'position table': 1 })
    const feeds = { pixels: noise([1, 3, 16, 16]) }
    const [before, after] = [await compute(original, feeds), await compute(model, feeds)]
    expect(largest(before.get('y0')?.data ?? [], after.get('y0')?.data ?? [])).toBeLessThan(1e-5)
    const images = GRIDS.slice(0, 2).map(({ rows, cols }) => drawnImage({ height: rows * PATCH, width: cols * PATCH }))
    const batch = await compute(model, { pixels: padBatch(images, { height: 24, width: 20 }) })
    expect(batch.get('y0')?.dims).toEqual([2, 30, WIDTH])
  })

  it('is refused where each image has another', () => {
    const model = tokensWith(({ b }) => weights(b, [2, 16, WIDTH], SEED), { dims: [2, 3, 16, 16] })()
    const error = refused(model, ['posenc'])
    expect(error.message).toMatch(/differ/)
  })

  it('is refused where it lies on the map, before the tokens are laid out', () => {
    const model = drawVit(
      ({ b, grid }) => [
        b.transpose(b.reshape(b.add(grid, weights(b, [1, WIDTH, 4, 4], SEED)), b.int64([0, WIDTH, -1])), {
          perm: [0, 2, 1],
        }),
      ],
      { dims },
    )
    expect(refused(model, ['posenc']).refusals[0]?.reason).toMatch(/not \[batch, tokens, channels\]/)
  })

  it('is not taken for square where a class token makes it look so', async () => {
    const oblong = tokensWith(
      ({ b }) => weights(b, [1, 16, WIDTH], SEED),
      { dims: ['batch', 3, 12, 20] },
      withClassToken,
    )
    expect(refused(oblong(), ['posenc']).refusals[0]?.remedy).toMatch(/posenc\.native=3x5/)
    const model = oblong()
    posenc(model, { posenc: { native: '3x5' } })
    const table = { data: stored([1, 16, WIDTH]).subarray(WIDTH), dims: [3, 5, WIDTH] }
    for (const [i, { own }] of (await added(model, GRIDS)).entries()) {
      expect(largest(own, resizeTable('cubic', table, GRIDS[i] as Grid))).toBeLessThan(3e-5)
    }
  })
})

it('a table picked by numbers that are counted is refused', () => {
  const model = tokensWith(
    ({ b }) => b.gather(weights(b, [16, WIDTH], SEED), b.range(b.int64(0), b.int64(16), b.int64(1)), { axis: 0 }),
    { dims: ['batch', 3, 16, 16] },
  )()
  expect(refused(model, ['posenc']).refusals[0]?.reason).toMatch(/computed from the image size/)
})

import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { RESIZE_KINDS } from '../../src/analysis/resize-kind.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { added, byPlace, GRIDS, HOW, largest, posenc, resized, SEED, tokensWith } from '../support/drawn-positions.ts'
import { attend, drawVit, gridShape, PATCH, WIDTH, weights } from '../support/drawn-vit.ts'
import { compute, noise } from '../support/graphs.ts'
import type { Grid } from '../support/padded.ts'
import { refused } from '../support/refused.ts'
import { resizeTable } from '../support/resampling.ts'

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

import { describe, expect, it } from 'vitest'
import { RESIZE_KINDS } from '../../src/analysis/resize-kind.ts'
import { TensorOption } from '../../src/index.ts'
import { readProvenance } from '../../src/ir/provenance.ts'
import { floatTensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import { added, byPlace, GRIDS, largest, posenc, resized, tokensWith } from '../support/drawn-positions.ts'
import { PATCH, type Pen, WIDTH, weights, withClassToken } from '../support/drawn-vit.ts'
import type { Grid } from '../support/padded.ts'
import { refused } from '../support/refused.ts'
import { resizeTable } from '../support/resampling.ts'

const TRACED: Grid = { rows: 3, cols: 5 }
const DIMS = ['batch', 3, TRACED.rows * PATCH, TRACED.cols * PATCH] as const
const NATIVE: Grid = { rows: 7, cols: 7 }

/** What an export at one size keeps of a table: the one that its library resized it to. */
const kept = (kind: (typeof RESIZE_KINDS)[number], native: Grid, offset = 0) => {
  const data = resizeTable(kind, byPlace(native), TRACED, offset)
  return ({ b }: Pen): Value => b.constant(floatTensor([1, TRACED.rows * TRACED.cols, WIDTH], data))
}

const option = (native: Grid, dims: readonly number[] = [1, native.rows * native.cols, WIDTH]) =>
  new TensorOption(dims, byPlace(native).data)

describe('a table that the export resized and kept', () => {
  it.each(RESIZE_KINDS.flatMap((kind) => [0, 0.1].map((offset) => ({ kind, offset }))))(
    'gives way to the one it was made of, resized by $kind +$offset as the file shows',
    async ({ kind, offset }) => {
      if (kind === 'cubic-corners' && offset !== 0) return
      const model = tokensWith(kept(kind, NATIVE, offset), { dims: DIMS })()
      const report = posenc(model, { posenc: { table: option(NATIVE) } })
      expect(report.notes.join()).toContain(`7x7 position table gives the file's own by ${kind}`)
      for (const [i, { own, padding }] of (await added(model, GRIDS)).entries()) {
        const wanted = resizeTable(kind, byPlace(NATIVE), GRIDS[i] ?? NATIVE, offset)
        expect(largest(own, wanted)).toBeLessThan(2e-5)
        expect(Math.max(...padding.map(Math.abs))).toBe(0)
      }
    },
  )

  it('is given by rows and columns, or with the rows of the prefix', async () => {
    const wide: Grid = { rows: 4, cols: 9 }
    const front = weights
    const withPrefix = (pen: Pen) => {
      const { b } = pen
      return b.concat([front(b, [1, 1, WIDTH], 9), kept('cubic', wide)(pen)], { axis: 1 })
    }
    const stored = tokensWith(withPrefix, { dims: DIMS }, withClassToken)
    const prefix = stored().graph.initializers.find(({ tensor }) => tensor?.dims.join() === `1,1,${WIDTH}`)
    expect(prefix).toBeDefined()
    const model = stored()
    posenc(model, { posenc: { table: option(wide, [wide.rows, wide.cols, WIDTH]) } })
    const [first] = await added(model, [wide])
    expect(largest(first?.own ?? [], byPlace(wide).data)).toBeLessThan(2e-5)
    const flat = option(wide, [wide.rows * wide.cols, WIDTH])
    posenc(stored(), { posenc: { table: flat, native: '4x9' } })
    expect(
      refused(stored(), ['posenc'], { posenc: { table: option({ rows: 5, cols: 7 }) } }).refusals[0],
    ).toMatchObject({
      reason: expect.stringMatching(/35 rows, which are no square grid/),
      remedy: expect.stringMatching(/posenc.native/),
    })
  })

  it('is told in the metadata by shape and checksum, and taken once', () => {
    const model = tokensWith(kept('cubic', NATIVE), { dims: DIMS })()
    const table = option(NATIVE)
    posenc(model, { posenc: { table } })
    const record = readProvenance(model).passes.find(({ name }) => name === 'posenc')
    expect(record?.options.table).toMatch(/^\[1, 49, 8\] [0-9a-f]+$/)
    expect(posenc(model, { posenc: { table: option(NATIVE) } }).status).toBe('already')
    const other = new TensorOption(
      table.dims,
      table.data.map((x) => x + 1),
    )
    expect(refused(model, ['posenc'], { posenc: { table: other } }).message).toMatch(/already applied/)
  })

  it.each<[string, TensorOption, RegExp]>([
    [
      'another table',
      new TensorOption([49, WIDTH], byPlace(NATIVE).data.toReversed()),
      /does not give the file's own at 3x5/,
    ],
    ['one on the grid of the export', option(TRACED, [3, 5, WIDTH]), /lies on the 3x5 grid/],
    ['one of another width', new TensorOption([98, WIDTH / 2], byPlace(NATIVE).data), /not one row of 8/],
  ])('does not give way to %s', (_, table, reason) => {
    const model = tokensWith(kept('cubic', NATIVE), { dims: DIMS })()
    expect(refused(model, ['posenc'], { posenc: { table } }).refusals[0]?.reason).toMatch(reason)
  })

  it('stays where the file still has the table that is resized', () => {
    const model = tokensWith((pen) => resized(pen, NATIVE, 'cubic'))()
    expect(refused(model, ['posenc'], { posenc: { table: option(NATIVE) } }).refusals[0]?.reason).toMatch(/still has/)
  })

  it('is not read from text', () => {
    const model = tokensWith(kept('cubic', NATIVE), { dims: DIMS })()
    expect(() => posenc(model, { posenc: { table: 'table.npy' } })).toThrow(/cannot be "table.npy"/)
  })
})

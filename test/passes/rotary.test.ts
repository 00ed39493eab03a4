import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { COORDINATES, type Coordinates } from '../../src/analysis/coordinates.ts'
import type { Model } from '../../src/ir/model.ts'
import { floatTensor } from '../../src/ir/tensor-data.ts'
import type { OptionsByPass } from '../../src/pipeline/options.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import {
  type Along,
  CHANNELS,
  computedTables,
  drawRotary,
  known,
  rotationTables,
  storedTables,
  type Tables,
} from '../support/drawn-rotary.ts'
import { HEADS, PATCH, paddedAgainstAlone } from '../support/drawn-vit.ts'
import { noise } from '../support/graphs.ts'
import { refused } from '../support/refused.ts'

const SIZES = [
  [5, 3],
  [4, 4],
  [2, 9],
  [1, 1],
  [11, 6],
].map(([rows = 1, cols = 1]) => ({ height: rows * PATCH, width: cols * PATCH }))
const PASSES = ['mask', 'posenc', 'zero']

/** Runs the passes and compares images in a padded batch with a model that computes its coordinates by the rule, each alone. */
async function agreesWith(original: Model, transformed: Model, options: OptionsByPass = {}, prefix = 0) {
  const report = runPasses(registry, transformed, PASSES, options)
  const posenc = report.passes.find(({ pass }) => pass === 'posenc')
  expect(posenc).toMatchObject({ status: 'applied', sites: { 'rotary table': 4 } })
  const layouts = { y0: ['tokens', 'fixed'] } as const
  const { own, padding } = await paddedAgainstAlone({ original, transformed }, layouts, SIZES, prefix)
  expect(own).toBeLessThan(2e-5)
  expect(padding).toBe(0)
  return posenc?.notes ?? []
}

const fixed = (rows: number, cols: number) => ({ dims: ['batch', 3, rows * PATCH, cols * PATCH] })

describe.each(COORDINATES)('rotary positions of %s coordinates', (name) => {
  const draw = () => drawRotary(computedTables(known(name)))

  it('that the graph computes lie on the grid of each image', async () => {
    expect(await agreesWith(draw(), draw())).toEqual([])
  })

  it('come behind rows for a class token', async () => {
    const withClass = () => drawRotary(computedTables(known(name)), { classToken: true })
    expect(await agreesWith(withClass(), withClass(), {}, 1)).toEqual([])
  })

  it('are found in tables of one size, where the caller says so', async () => {
    const stored = drawRotary(storedTables(name, { rows: 4, cols: 5 }), fixed(4, 5))
    const [note, ...others] = await agreesWith(draw(), stored, { posenc: { rotary: name } })
    expect(note).toMatch(new RegExp(`made for 4x5 patches and wrong at other sizes; taken as ${name}, as asked`))
    expect(others).toEqual([])
  })
})

describe('rotary positions made for one size', () => {
  const SEPARATE = () => drawRotary(computedTables(known('separate')))

  it.each([
    ['separate', 3, 5],
    ['max', 3, 5],
    ['min', 5, 3],
    ['separate', 14, 14],
    ['separate', 4, 4],
    ['stretch', 4, 4],
    ['stretch', 3, 6],
    ['index', 3, 5],
  ] as const)('tell %s coordinates of %i x %i patches by themselves', async (name, rows, cols) => {
    const stored = drawRotary(storedTables(name, { rows, cols }), fixed(rows, cols))
    const notes = await agreesWith(drawRotary(computedTables(known(name))), stored)
    expect(notes.join()).toMatch(new RegExp(`made for ${rows}x${cols} patches .*taken as ${name}`))
    expect(notes.join()).toMatch(name === 'separate' && rows === cols ? /max and min and corners would fit/ : /taken/)
  })

  it.each([
    ['separate', 3, 5, 'separate'],
    ['separate', 4, 4, 'separate'],
    ['max', 3, 3, 'max'],
    ['min', 4, 4, 'min'],
    ['corners', 5, 5, 'corners'],
  ] as const)('divided by constants, as %s at %i x %i', async (name, rows, cols, asked) => {
    const frozen = drawRotary(computedTables(known(name, { rows, cols })))
    const options = asked === 'separate' ? {} : { posenc: { rotary: asked } }
    const notes = await agreesWith(drawRotary(computedTables(known(name))), frozen, options)
    expect(notes.join()).toMatch(new RegExp(`made for ${rows}x${cols} patches`))
  })

  it('are wrong in the original at other sizes: the test would notice', async () => {
    const frozen = drawRotary(computedTables(known('separate', { rows: 3, cols: 5 })))
    const layouts = { y0: ['tokens', 'fixed'] } as const
    const alone = { original: SEPARATE(), transformed: frozen }
    const { own } = await paddedAgainstAlone(alone, layouts, [{ height: 5 * PATCH, width: 3 * PATCH }])
    expect(own).toBeGreaterThan(1e-3)
  })

  it('say so where counted and stretched look alike', () => {
    const stored = drawRotary(storedTables('index', { rows: 4, cols: 4 }), fixed(4, 4))
    expect(refused(stored, ['posenc']).refusals).toMatchObject([
      {
        reason: expect.stringMatching(/counted, or stretched over the image/),
        remedy: expect.stringMatching(/--option posenc.rotary=index\|stretch/),
      },
    ])
  })

  it('do not take a rule that the table contradicts', () => {
    const stored = drawRotary(storedTables('separate', { rows: 3, cols: 5 }), fixed(3, 5))
    expect(refused(stored, ['posenc'], { posenc: { rotary: 'max' } }).message).toMatch(/not made by max coordinates/)
  })

  it('are not asked for a rule where the graph follows every size', async () => {
    const [note] = await agreesWith(SEPARATE(), SEPARATE(), { posenc: { rotary: 'max' } })
    expect(note).toMatch(/follow the image size \(separate\); posenc.rotary is not used/)
  })
})

describe('positions that are refused', () => {
  const along = (make: Along) => drawRotary(computedTables(make))
  const stored = (tables: Tables, rows: number, cols: number) => drawRotary(tables, fixed(rows, cols))
  const half = (name: Coordinates, rows: number, cols: number) =>
    stored(
      storedTables(name, { rows, cols }, (cos) => cos.set([(cos[5] ?? 0) + 1e-3], 5)),
      rows,
      cols,
    )

  it.each([
    [
      'squared coordinates',
      () =>
        along((b, i, own, l) => {
          const c = known('separate')(b, i, own, l)
          return b.mul(c, c)
        }),
    ],
    ['a length that is both together', () => along((b, i, _own, [h, w]) => b.div(i, b.add(h, w)))],
    [
      'a length that is the square root of the area',
      () => along((b, i, _own, [h, w]) => b.div(i, b.sqrt(b.mul(h, w)))),
    ],
    ['frequencies that grow with the image', () => along((b, i, own) => b.mul(i, b.log(own)))],
    ['coordinates with an offset of one size', () => along((b, i) => b.add(i, b.float(0.3)))],
    ['counted coordinates stretched for one size', () => along(known('stretch', { rows: 4, cols: 4 }))],
    ['another grid for rows than for columns', () => along((b, i, own, [h]) => b.div(i, own === h ? b.float(3) : own))],
  ] as const)('%s, in the graph', (_, draw) => {
    expect(refused(draw(), ['posenc']).refusals[0]?.reason).toMatch(/positions|coordinates/)
  })

  it.each([
    ['a number that is a little off', () => half('separate', 3, 5)],
    [
      'two patches, over which the fastest channel turns once',
      () => stored(storedTables('separate', { rows: 2, cols: 2 }), 2, 2),
    ],
    ['a single row', () => stored(storedTables('separate', { rows: 1, cols: 5 }), 1, 5)],
    [
      'numbers that are no cosines',
      () =>
        stored(
          ({ b }) =>
            [1, 2].map((seed) => b.constant(floatTensor([15, CHANNELS], noise([15, CHANNELS], seed).data))) as never,
          3,
          5,
        ),
    ],
    [
      'a table for each head',
      () =>
        stored(
          ({ b }) => {
            const { cos, sin } = rotationTables('separate', { rows: 3, cols: 5 })
            const other = rotationTables('max', { rows: 3, cols: 5 })
            const both = (x: Float64Array, y: Float64Array) =>
              b.constant(floatTensor([HEADS, 15, CHANNELS], [...x, ...y]))
            return [both(cos, other.cos), both(sin, other.sin)]
          },
          3,
          5,
        ),
    ],
  ] as const)('%s, in the file', (_, draw) => {
    expect(refused(draw(), ['posenc']).refusals[0]?.reason).toMatch(/positions|position table/)
  })
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type PlanOptions, planBatches } from '../../src/batching/plan.ts'

const OPTIONS: PlanOptions = {
  cell: { height: 16, width: 16 },
  tokensPerCell: 1,
  extraTokens: 1,
  quadratic: 1 / 1152,
  callTokens: 12,
  batchTokens: 512,
  batchImages: 64,
  maxPadding: 0.1,
  lanes: 1,
  buckets: [],
}

const size = fc.record({ height: fc.integer({ min: 16, max: 160 }), width: fc.integer({ min: 16, max: 160 }) })
const sizes = fc.array(size, { maxLength: 60 })
const options = fc
  .record({
    batchTokens: fc.integer({ min: 1, max: 2000 }),
    batchImages: fc.integer({ min: 1, max: 20 }),
    maxPadding: fc.constantFrom(0, 0.1, 0.3),
    lanes: fc.integer({ min: 1, max: 4 }),
    callTokens: fc.constantFrom(0, 12, 100),
  })
  .map((some): PlanOptions => ({ ...OPTIONS, ...some }))

function cells({ height, width }: { height: number; width: number }): { rows: number; cols: number } {
  return { rows: Math.floor(height / 16), cols: Math.floor(width / 16) }
}

/** What a division of the images costs. */
function cost(batches: readonly { members: readonly number[]; tokens: number }[]): number {
  return batches.reduce((sum, { members, tokens }) => {
    const each = tokens / members.length
    return sum + OPTIONS.callTokens + tokens * (1 + OPTIONS.quadratic * each)
  }, 0)
}

describe('a plan', () => {
  it('holds every image once, in a batch that covers it and keeps to the limits', () => {
    fc.assert(
      fc.property(sizes, options, (list, chosen) => {
        const batches = planBatches(list, chosen)
        expect(batches.flatMap(({ members }) => members).sort((a, b) => a - b)).toEqual(list.map((_, i) => i))
        for (const { members, height, width, tokens } of batches) {
          const grids = members.map((member) => cells(list[member] ?? expect.fail()))
          expect(height).toBe(16 * Math.max(...grids.map(({ rows }) => rows)))
          expect(width).toBe(16 * Math.max(...grids.map(({ cols }) => cols)))
          expect(tokens).toBe(members.length * (1 + (height / 16) * (width / 16)))
          const valid = grids.reduce((sum, { rows, cols }) => sum + 1 + rows * cols, 0)
          if (members.length === 1) continue
          expect(members.length).toBeLessThanOrEqual(chosen.batchImages)
          expect(tokens).toBeLessThanOrEqual(chosen.batchTokens)
          expect(1 - valid / tokens).toBeLessThanOrEqual(chosen.maxPadding + 1e-9)
        }
      }),
    )
  })

  it('is the same for the same list', () => {
    fc.assert(
      fc.property(sizes, options, (list, chosen) => {
        expect(planBatches(list, chosen)).toEqual(planBatches([...list], { ...chosen }))
      }),
    )
  })

  it('never costs more than images of equal size together, or one by one', () => {
    fc.assert(
      fc.property(sizes, (list) => {
        const mixed = cost(planBatches(list, OPTIONS))
        expect(mixed).toBeLessThanOrEqual(cost(planBatches(list, { ...OPTIONS, maxPadding: 0 })) + 1e-6)
        expect(mixed).toBeLessThanOrEqual(cost(planBatches(list, { ...OPTIONS, batchImages: 1 })) + 1e-6)
      }),
    )
  })

  it('is the cheapest of all divisions where only one length varies', () => {
    const short = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 7 })
    fc.assert(
      fc.property(short, (lengths) => {
        const list = lengths.map((cols) => ({ height: 16, width: 16 * cols }))
        const chosen = { ...OPTIONS, maxPadding: 1, batchTokens: 60 }
        expect(cost(planBatches(list, chosen))).toBeCloseTo(cheapest(lengths, chosen), 6)
      }),
    )
  })

  it('pads only where that is cheaper than another call', () => {
    const apart = [...Array(8).fill({ height: 160, width: 160 }), ...Array(8).fill({ height: 160, width: 144 })]
    expect(planBatches(apart, { ...OPTIONS, batchTokens: 5000 })).toHaveLength(2)
    const near = [...Array(8).fill({ height: 32, width: 160 }), { height: 32, width: 144 }]
    expect(planBatches(near, OPTIONS)).toHaveLength(1)
  })

  it('leaves no lane without work', () => {
    const equal = Array(8).fill({ height: 224, width: 224 })
    expect(planBatches(equal, { ...OPTIONS, batchTokens: 5000 })).toHaveLength(1)
    const shared = planBatches(equal, { ...OPTIONS, batchTokens: 5000, lanes: 2 })
    expect(shared.map(({ members }) => members.length)).toEqual([2, 2, 2, 2])
    const small = Array(4).fill({ height: 32, width: 32 })
    expect(planBatches(small, { ...OPTIONS, lanes: 2 })).toHaveLength(1)
  })

  it('follows buckets where an image fits one', () => {
    const buckets = [
      { height: 160, width: 160, batch: 4 },
      { height: 32, width: 160, batch: 2 },
    ]
    const list = [
      ...Array(3).fill({ height: 20, width: 100 }),
      { height: 40, width: 40 },
      { height: 48, width: 40 },
      { height: 176, width: 32 },
    ]
    const batches = planBatches(list, { ...OPTIONS, buckets })
    expect(batches.map(({ members, height, width }) => [members, height, width])).toEqual([
      [[0, 1], 32, 160],
      [[2, 3], 32, 160],
      [[4], 160, 160],
      [[5], 176, 32],
    ])
  })
})

/** The least cost over every division of a few images of one row into sets. */
function cheapest(lengths: readonly number[], chosen: PlanOptions): number {
  const divide = (rest: readonly number[]): number => {
    const [first, ...others] = rest
    if (first === undefined) return 0
    let best = Number.POSITIVE_INFINITY
    for (let subset = 0; subset < 1 << others.length; subset++) {
      const chosenSet = [first, ...others.filter((_, i) => (subset >> i) & 1)]
      const tokens = chosenSet.length * (1 + Math.max(...chosenSet))
      if (chosenSet.length > 1 && tokens > chosen.batchTokens) continue
      const left = others.filter((_, i) => !((subset >> i) & 1))
      best = Math.min(best, cost([{ members: chosenSet.map((_, i) => i), tokens }]) + divide(left))
    }
    return best
  }
  return divide(lengths)
}

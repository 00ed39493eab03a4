import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type BucketOptions, planBuckets, type SizeCount } from '../../src/batching/buckets.ts'
import { callCost, estimateCost } from '../../src/batching/cost.ts'

const PATCH = { height: 16, width: 14 }
const TINY = estimateCost({ hidden: 192, weights: 12 * 12 * 192 ** 2 })

const options = (more: Partial<BucketOptions> = {}): BucketOptions => ({
  tokenizer: { patch: PATCH, prefix: 1 },
  cost: TINY,
  most: 4,
  batch: 8,
  ...more,
})

/** What all images cost when they are padded to these buckets, told by a call at a time; infinite where one fits none. */
function costWith(sizes: readonly SizeCount[], buckets: readonly (readonly [number, number])[], own: BucketOptions) {
  const { cost, tokenizer, batch, batchTokens = Number.POSITIVE_INFINITY } = own
  const filled = buckets.map(([height, width]) => {
    const tokens = tokenizer.prefix + (height / PATCH.height) * (width / PATCH.width)
    const images = Math.max(1, Math.min(batch, Math.floor(batchTokens / tokens)))
    return { height, width, each: callCost(images, tokens, cost) / images, spare: (cost.call * (1 - 1 / images)) / 2 }
  })
  const taken = new Set<object>()
  let total = 0
  for (const { height, width, count } of sizes) {
    const fitting = filled.filter((bucket) => bucket.height >= height && bucket.width >= width)
    if (fitting.length === 0) return Number.POSITIVE_INFINITY
    const home = fitting.reduce((a, b) => (b.each < a.each ? b : a))
    taken.add(home)
    total += home.each * count
  }
  return filled.filter((bucket) => taken.has(bucket)).reduce((sum, { spare }) => sum + spare, total)
}

/** The least cost over every choice of at most `most` buckets out of all grids up to the largest. */
function leastCost(sizes: readonly SizeCount[], own: BucketOptions): number {
  const rows = Math.max(...sizes.map(({ height }) => Math.ceil(height / PATCH.height)))
  const cols = Math.max(...sizes.map(({ width }) => Math.ceil(width / PATCH.width)))
  const all = Array.from({ length: rows * cols }, (_, i) => {
    return [(1 + Math.floor(i / cols)) * PATCH.height, (1 + (i % cols)) * PATCH.width] as const
  })
  const choose = (from: number, chosen: readonly (readonly [number, number])[]): number => {
    const now = chosen.length === 0 ? Number.POSITIVE_INFINITY : costWith(sizes, chosen, own)
    if (chosen.length === own.most) return now
    return all.slice(from).reduce((least, grid, i) => Math.min(least, choose(from + i + 1, [...chosen, grid])), now)
  }
  return choose(0, [])
}

const constant = (max: number): fc.Arbitrary<number> => fc.double({ min: 0, max, noNaN: true })
const drawnCost = fc.record({
  linear: fc.double({ min: 0.01, max: 1, noNaN: true }),
  attention: constant(0.2),
  call: constant(20),
})
const drawnSizes = (rows: number, cols: number): fc.Arbitrary<SizeCount[]> =>
  fc.array(
    fc.record({
      height: fc.integer({ min: 1, max: rows * PATCH.height }),
      width: fc.integer({ min: 1, max: cols * PATCH.width }),
      count: fc.integer({ min: 1, max: 20 }),
    }),
    { minLength: 1, maxLength: 10 },
  )

describe('planBuckets', () => {
  it('finds the least cost over all choices of buckets', () => {
    fc.assert(
      fc.property(
        drawnSizes(4, 4),
        drawnCost,
        fc.record({
          most: fc.integer({ min: 1, max: 3 }),
          batch: fc.integer({ min: 1, max: 9 }),
          batchTokens: fc.integer({ min: 1, max: 40 }),
        }),
        (sizes, cost, more) => {
          const own = options({ cost, ...more })
          const plan = planBuckets(sizes, own)
          const least = leastCost(sizes, own)
          expect(plan.optimal).toBe(true)
          expect(plan.cost / least).toBeCloseTo(1, 7)
          expect(plan.buckets.length).toBeLessThanOrEqual(more.most)
        },
      ),
      { numRuns: 150 },
    )
  })

  it('finds it for images of one height, with more buckets and widths', () => {
    const words = drawnSizes(1, 9)
    fc.assert(
      fc.property(words, drawnCost, fc.integer({ min: 1, max: 4 }), (sizes, cost, most) => {
        const own = options({ cost, most })
        const plan = planBuckets(sizes, own)
        expect(plan.optimal).toBe(true)
        expect(plan.cost / leastCost(sizes, own)).toBeCloseTo(1, 7)
      }),
      { numRuns: 50 },
    )
  })

  it('holds every image in whole patches, costs what it says, and no less than its bound, however little it may search', () => {
    fc.assert(
      fc.property(
        drawnSizes(20, 20),
        drawnCost,
        fc.integer({ min: 1, max: 6 }),
        fc.constantFrom(0, 500, 5000, 2e9),
        (sizes, cost, most, effort) => {
          const own = options({ cost, most, effort })
          const { buckets, ...plan } = planBuckets(sizes, own)
          for (const { height, width, batch } of buckets) {
            expect([height % PATCH.height, width % PATCH.width, batch]).toEqual([0, 0, 8])
          }
          const shapes = buckets.map(({ height, width }) => [height, width] as const)
          expect(plan.cost / costWith(sizes, shapes, own)).toBeCloseTo(1, 7)
          expect(plan.images).toBe(sizes.reduce((sum, { count }) => sum + count, 0))
          expect(buckets.reduce((sum, { images }) => sum + images, 0)).toBe(plan.images)
          const proven = planBuckets(sizes, { ...own, effort: 2e9 })
          expect(proven.optimal).toBe(true)
          expect(plan.bound).toBeLessThanOrEqual(proven.cost * (1 + 1e-9))
          expect(plan.cost).toBeGreaterThanOrEqual(proven.cost * (1 - 1e-9))
        },
      ),
      { numRuns: 100 },
    )
  })

  it('does not depend on the order of the sizes, or on whether equal ones are counted', () => {
    fc.assert(
      fc.property(drawnSizes(6, 6), (sizes) => {
        const plan = planBuckets(sizes, options())
        const singly = sizes.flatMap(({ count, ...size }) =>
          Array.from({ length: count }, () => ({ ...size, count: 1 })),
        )
        const other = planBuckets(singly.reverse(), options())
        expect(other.cost / plan.cost).toBeCloseTo(1, 9)
        expect(other.buckets.map(({ tokens }) => tokens)).toEqual(plan.buckets.map(({ tokens }) => tokens))
      }),
      { numRuns: 50 },
    )
  })

  it('never costs more with more buckets', () => {
    fc.assert(
      fc.property(drawnSizes(12, 12), drawnCost, (sizes, cost) => {
        const costs = [1, 2, 3, 4, 5].map((most) => planBuckets(sizes, options({ cost, most })).cost)
        for (const [i, own] of costs.entries()) expect(own).toBeLessThanOrEqual((costs[i - 1] ?? own) * (1 + 1e-9))
      }),
      { numRuns: 50 },
    )
  })

  it('compares with no padding and with one bucket', () => {
    fc.assert(
      fc.property(drawnSizes(6, 6), drawnCost, (sizes, cost) => {
        const plan = planBuckets(sizes, options({ cost }))
        expect(plan.single).toBeCloseTo(planBuckets(sizes, options({ cost, most: 1 })).cost, 6)
        const alone = sizes.map((size) => planBuckets([size], options({ cost, most: 1, batch: 1 })).cost)
        const calls = sizes.reduce((sum, { count }) => sum + count * cost.call * (1 - 1 / 8), 0)
        expect(plan.unpadded).toBeCloseTo(alone.reduce((a, b) => a + b) - calls, 6)
      }),
      { numRuns: 50 },
    )
  })

  it('leaves nothing padded where each size may have a bucket and calls cost nothing', () => {
    const sizes = [
      { height: 16, width: 14, count: 3 },
      { height: 32, width: 14, count: 1 },
      { height: 16, width: 42, count: 2 },
    ]
    const plan = planBuckets(sizes, options({ cost: { ...TINY, call: 0 } }))
    expect(plan.padding).toBe(0)
    expect(plan.buckets.map(({ height, width, images }) => [height, width, images])).toEqual([
      [16, 14, 3],
      [32, 14, 1],
      [16, 42, 2],
    ])
  })

  it('takes fewer buckets where calls cost more than padding', () => {
    const sizes = [
      { height: 16, width: 140, count: 8 },
      { height: 16, width: 154, count: 8 },
    ]
    expect(planBuckets(sizes, options({ cost: { linear: 1, attention: 0, call: 1 } })).buckets).toHaveLength(2)
    expect(planBuckets(sizes, options({ cost: { linear: 1, attention: 0, call: 1e4 } })).buckets).toHaveLength(1)
  })

  it('bounds a call by tokens too, but takes one image at least', () => {
    const sizes = [
      { height: 16, width: 42, count: 1 },
      { height: 160, width: 140, count: 1 },
    ]
    const plan = planBuckets(sizes, options({ cost: { ...TINY, call: 0 }, batchTokens: 12 }))
    expect(plan.buckets.map(({ tokens, batch }) => [tokens, batch])).toEqual([
      [4, 3],
      [101, 1],
    ])
  })

  it('proves most of the least cost for a thousand photos in a few dozen buckets', () => {
    const sizes = Array.from({ length: 1000 }, (_, i) => {
      const long = 160 + ((i * 7919) % 480)
      const short = Math.round(long * (0.5 + ((i * 104729) % 500) / 1000))
      return i % 2 === 0 ? { height: long, width: short, count: 1 } : { height: short, width: long, count: 1 }
    })
    const plan = planBuckets(sizes, options({ most: 24, effort: 1e8 }))
    expect(plan.cost / plan.bound).toBeLessThan(1.05)
    expect(plan.padding).toBeLessThan(0.25)
  })

  it('pads everything to the one size that a model takes, and refuses what does not fit it', () => {
    const only = { height: 64, width: 56 }
    const plan = planBuckets([{ height: 16, width: 14, count: 1 }], options({ only }))
    expect(plan.buckets).toMatchObject([{ height: 64, width: 56, images: 1 }])
    expect(() => planBuckets([{ height: 65, width: 14, count: 1 }], options({ only }))).toThrow(
      '65x14 does not fit 64x56',
    )
  })

  it.each([
    [[], 'there are no sizes'],
    [[{ height: 0, width: 5, count: 1 }], '1 images of 0x5'],
    [[{ height: 5, width: 5.5, count: 1 }], '5x5.5'],
    [[{ height: 5, width: Number.NaN, count: 1 }], '5xNaN'],
    [[{ height: 5, width: 5, count: -1 }], '-1 images'],
  ])('refuses %j', (sizes, message) => {
    expect(() => planBuckets(sizes, options())).toThrow(message)
  })
})

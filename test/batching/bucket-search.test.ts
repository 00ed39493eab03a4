import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { candidateGrids, costOf, makeProblem, type Point, type Problem } from '../../src/batching/bucket-problem.ts'
import { searchBest } from '../../src/batching/bucket-search.ts'

const drawnPoints: fc.Arbitrary<Point[]> = fc.uniqueArray(
  fc.record({
    rows: fc.integer({ min: 1, max: 7 }),
    cols: fc.integer({ min: 1, max: 7 }),
    count: fc.integer({ min: 1, max: 9 }),
  }),
  { minLength: 2, maxLength: 12, selector: ({ rows, cols }) => rows * 8 + cols },
)

const drawnProblem: fc.Arbitrary<Problem> = fc
  .tuple(
    drawnPoints,
    fc.integer({ min: 1, max: 4 }),
    fc.double({ min: 0, max: 0.2, noNaN: true }),
    fc.double({ min: 0, max: 30, noNaN: true }),
  )
  .map(([points, most, attention, opening]) => {
    const sites = candidateGrids(points).map(({ rows, cols }) => {
      const tokens = rows * cols
      return { rows, cols, each: tokens + attention * tokens * tokens, opening }
    })
    return makeProblem(points, sites, most)
  })

/** The least cost of any choice, by trying all. */
function leastCost(problem: Problem): number {
  const count = problem.sites.each.length
  const choose = (from: number, chosen: readonly number[]): number => {
    let least = costOf(problem, chosen)
    if (chosen.length === problem.most) return least
    for (let site = from; site < count; site += 1) least = Math.min(least, choose(site + 1, [...chosen, site]))
    return least
  }
  return choose(0, [])
}

/** The worst start: everything in the largest site. */
function inOne({ sites }: Problem): number[] {
  return [sites.each.length - 1]
}

describe('searchBest', () => {
  it('finds the least cost from the worst start, and proves it', () => {
    fc.assert(
      fc.property(drawnProblem, (problem) => {
        const least = leastCost(problem)
        const { chosen, cost, bound } = searchBest(problem, inOne(problem), 1e9)
        expect(cost / least).toBeCloseTo(1, 8)
        expect(costOf(problem, chosen)).toBe(cost)
        expect(chosen.length).toBeLessThanOrEqual(problem.most)
        expect(bound / least).toBeCloseTo(1, 8)
      }),
      { numRuns: 200 },
    )
  })

  it('gives no bound above the least cost, wherever it has to stop', () => {
    fc.assert(
      fc.property(drawnProblem, fc.integer({ min: 0, max: 20000 }), (problem, effort) => {
        const least = leastCost(problem)
        const { cost, bound } = searchBest(problem, inOne(problem), effort)
        expect(bound).toBeLessThanOrEqual(least * (1 + 1e-9))
        expect(cost).toBeGreaterThanOrEqual(least * (1 - 1e-9))
      }),
      { numRuns: 200 },
    )
  })
})

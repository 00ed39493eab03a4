import { costOf, type Problem, prices, savings, used } from './bucket-problem.ts'

/** True where of any two points one fits into the other: then a best choice is found by going along them. */
export function isChain({ points: { cols } }: Problem): boolean {
  return cols.every((own, i) => i === 0 || own >= (cols[i - 1] ?? 0))
}

/** A smaller share of the cost is rounding. */
const ROUNDING = 1e-12

/** Above so many steps, points are not cut into runs. */
const RUN_STEPS = 5e8

/**
 * The best choice that cuts the points, in the given order, into runs and pads each run to the smallest grid that holds it: dynamic
 * programming over the number of runs and where the last one begins. In a chain, in its order, there is no better choice at all. Null
 * where there are too many points.
 */
export function cutIntoRuns(problem: Problem, order: readonly number[]): number[] | null {
  const { points, sites, most } = problem
  const length = order.length
  const runs = Math.min(most, length)
  if (runs * length * length > RUN_STEPS) return null
  const siteOf = siteTable(problem)
  let before = new Float64Array(length + 1).fill(Number.POSITIVE_INFINITY)
  before[0] = 0
  const begins: Int32Array[] = []
  let best = { cost: Number.POSITIVE_INFINITY, runs: 0 }
  for (let run = 1; run <= runs; run += 1) {
    const now = new Float64Array(length + 1).fill(Number.POSITIVE_INFINITY)
    const begin = new Int32Array(length + 1)
    for (let end = run; end <= length; end += 1) {
      let [rows, cols, count] = [0, 0, 0]
      for (let start = end - 1; start >= run - 1; start -= 1) {
        const point = order[start] as number
        rows = Math.max(rows, points.rows[point] as number)
        cols = Math.max(cols, points.cols[point] as number)
        count += points.counts[point] as number
        const site = siteOf(rows, cols)
        const own = (sites.opening[site] as number) + count * (sites.each[site] as number)
        const total = (before[start] as number) + own
        if (total >= (now[end] as number)) continue
        now[end] = total
        begin[end] = start
      }
    }
    begins.push(begin)
    if ((now[length] as number) < best.cost) best = { cost: now[length] as number, runs: run }
    before = now
  }
  const chosen: number[] = []
  for (let run = best.runs, end = length; run > 0; run -= 1) {
    const start = begins[run - 1]?.[end] ?? 0
    const inside = order.slice(start, end)
    const tallest = Math.max(...inside.map((point) => points.rows[point] ?? 0))
    chosen.push(siteOf(tallest, Math.max(...inside.map((point) => points.cols[point] ?? 0))))
    end = start
  }
  return used(problem, chosen)
}

/** The index of the site with so many rows and columns. */
function siteTable({ sites }: Problem): (rows: number, cols: number) => number {
  const width = Math.max(0, ...sites.cols) + 1
  const table = new Int32Array((Math.max(0, ...sites.rows) + 1) * width).fill(-1)
  for (let site = 0; site < sites.each.length; site += 1) {
    table[(sites.rows[site] ?? 0) * width + (sites.cols[site] ?? 0)] = site
  }
  return (rows, cols) => table[rows * width + cols] as number
}

/** Orders in which cutting into runs is worth trying: by rows, by columns, by tokens, by shape. */
export function orders({ points: { rows, cols } }: Problem): number[][] {
  const all = Array.from(rows, (_, i) => i)
  const tall = (i: number): number => rows[i] ?? 0
  const wide = (i: number): number => cols[i] ?? 0
  const keys: ((i: number) => readonly [number, number])[] = [
    (i) => [tall(i), wide(i)],
    (i) => [wide(i), tall(i)],
    (i) => [tall(i) * wide(i), tall(i)],
    (i) => [tall(i) / wide(i), tall(i)],
  ]
  return keys.map((key) => {
    const keyed = all.map((i) => ({ i, key: key(i) }))
    return keyed.sort((a, b) => a.key[0] - b.key[0] || a.key[1] - b.key[1]).map(({ i }) => i)
  })
}

/**
 * Makes a choice better by one change at a time (a site more, one less, one for another) while any helps: no single change improves the
 * result, unless the effort is spent before.
 * @param effort how many pairs of point and site may be looked at
 */
export function exchange(problem: Problem, start: readonly number[], effort: number): number[] {
  const { sites, most } = problem
  const all = Int32Array.from(sites.each, (_, site) => site)
  const saved = new Float64Array(all.length)
  let chosen = used(problem, start)
  let cost = costOf(problem, chosen)
  let left = effort
  for (let turn = 0, idle = 0; idle <= chosen.length && left > 0; turn += 1) {
    // In turn each site leaves, and once in a round none.
    const leaves = turn % (chosen.length + 1)
    const base = chosen.filter((_, i) => i !== leaves)
    const better = base.length < most ? bestWith(base) : base
    const found = used(problem, better)
    const next = costOf(problem, found)
    idle = next < cost * (1 - ROUNDING) ? 0 : idle + 1
    if (idle > 0) continue
    chosen = found
    cost = next
  }
  return chosen

  /** These sites, with the one more that saves most where any does. */
  function bestWith(base: readonly number[]): readonly number[] {
    savings(problem, prices(problem, base), all, saved)
    left -= all.length * problem.points.rows.length
    const worth = (site: number): number => (saved[site] ?? 0) + (sites.opening[site] ?? 0)
    const best = all.reduce((a, b) => (worth(b) < worth(a) ? b : a))
    return worth(best) < 0 ? [...base, best] : base
  }
}

import { costOf, type Problem, prices, savings, used } from './bucket-problem.ts'

/** A choice of sites, and what is known about the least cost of any. */
export interface Searched {
  readonly chosen: readonly number[]
  readonly cost: number
  /** No choice costs less than this. */
  readonly bound: number
}

/** Below this share of the cost, two costs differ by rounding. */
const ROUNDING = 1e-9

/** Steps towards better prices: at the root, where all else starts from them, and below. */
const ROOT_STEPS = 400
const BRANCH_STEPS = 20

/** Steps without a better bound after which the next ones are half as long, and how short they may get. */
const PATIENCE = 8
const SHORTEST = 1e-3

/**
 * The best choice of sites: branch and bound over which sites to have. The bound is Lagrange's: with a price for which each image may be
 * put anywhere, twice or not at all, sites can be told one by one whether they are worth it; prices are moved until what they give comes
 * close to the cost of a real choice (subgradient steps, as Cornuejols, Fisher and Nemhauser (1977) do for this kind of problem). Sites
 * whose other use the bound excludes are fixed at once.
 *
 * @param start a choice that holds every point
 * @param effort how many pairs of point and site may be looked at; once it is spent, the best choice so far is given with the bound that
 *   was reached
 */
export function searchBest(problem: Problem, start: readonly number[], effort: number): Searched {
  const search = new Search(problem, start, effort)
  const free = Int32Array.from(problem.sites.each, (_, site) => site)
  const bound = search.explore({ open: [], free, price: prices(problem, start) }, ROOT_STEPS)
  return { chosen: search.chosen, cost: search.cost, bound: Math.min(bound, search.cost) }
}

interface Branch {
  /** Sites that are had. */
  readonly open: readonly number[]
  /** Sites that may be had too. */
  readonly free: Int32Array
  /** For each point, what each of its images is paid. */
  readonly price: Float64Array
}

/** What prices say of a branch. */
interface Relaxed {
  readonly bound: number
  /** The free sites that are worth it, best first. */
  readonly taken: readonly number[]
  /** What having a site changes, opening included. */
  readonly worth: Float64Array
}

class Search {
  chosen: readonly number[]
  cost: number
  private readonly problem: Problem
  private effort: number

  constructor(problem: Problem, start: readonly number[], effort: number) {
    this.problem = problem
    this.effort = effort
    this.chosen = used(problem, start)
    this.cost = costOf(problem, this.chosen)
  }

  /** Looks through a branch, and gives what no choice in it is below; that need not be tight above the best cost known. */
  explore(branch: Branch, steps: number): number {
    if (!this.holdsAll([...branch.open, ...branch.free])) return Number.POSITIVE_INFINITY
    if (branch.open.length >= this.problem.most || branch.free.length === 0) return this.consider(branch.open)
    const { open, free, price, relaxed } = this.raisePrices(branch, steps)
    if (relaxed.bound >= this.enough || this.effort <= 0) return relaxed.bound
    if (open.length >= this.problem.most || free.length === 0) return this.consider(open)
    const split = mostWorth(free, relaxed.worth)
    const others = free.filter((site) => site !== split)
    const having = this.explore({ open: [...open, split], free: others, price }, BRANCH_STEPS)
    const lacking = this.explore({ open, free: others, price }, BRANCH_STEPS)
    return Math.max(relaxed.bound, Math.min(having, lacking))
  }

  private get enough(): number {
    return this.cost - ROUNDING * Math.abs(this.cost)
  }

  /** The branch, without what the bound excludes, at the prices that gave the highest bound. */
  private raisePrices(branch: Branch, steps: number): Branch & { readonly relaxed: Relaxed } {
    const price = Float64Array.from(branch.price)
    let { open, free } = branch
    let best = { price: branch.price, relaxed: this.relax(open, free, price) }
    let relaxed = best.relaxed
    let length = 1
    let idle = 0
    for (let step = 0; step < steps && this.effort > 0 && length > SHORTEST; step += 1) {
      if (relaxed.bound >= this.enough) break
      const had = [...open, ...relaxed.taken]
      this.consider(had)
      if (!this.move(price, had, length * (this.cost - relaxed.bound))) break
      relaxed = this.relax(open, free, price)
      if (relaxed.bound > best.relaxed.bound) {
        best = { price: Float64Array.from(price), relaxed }
        const fixed = this.fix(relaxed, open, free)
        open = fixed.open
        free = fixed.free
        idle = 0
      } else idle += 1
      if (idle < PATIENCE) continue
      length /= 2
      idle = 0
      price.set(best.price)
      relaxed = this.relax(open, free, price)
    }
    return { open, free, ...best }
  }

  private relax(open: readonly number[], free: Int32Array, price: Float64Array): Relaxed {
    const { points, sites, most } = this.problem
    const all = Int32Array.from([...open, ...free])
    const worth = new Float64Array(sites.each.length)
    savings(this.problem, price, all, worth)
    this.effort -= all.length * price.length
    for (const site of all) worth[site] = (worth[site] ?? 0) + (sites.opening[site] ?? 0)
    const sum = (some: readonly number[]): number => some.reduce((total, site) => total + (worth[site] ?? 0), 0)
    const taken = Array.from(free)
      .filter((site) => (worth[site] ?? 0) < 0)
      .sort((a, b) => (worth[a] ?? 0) - (worth[b] ?? 0))
      .slice(0, most - open.length)
    const paid = price.reduce((total, each, i) => total + each * (points.counts[i] ?? 0), 0)
    return { bound: paid + sum(open) + sum(taken), taken, worth }
  }

  /** Moves prices: up where no site that is had takes an image, down where several do. False where there is nothing to move. */
  private move(price: Float64Array, had: readonly number[], gap: number): boolean {
    const { points, sites } = this.problem
    const missing = new Float64Array(price.length).fill(1)
    for (const site of had) {
      const end = sites.reach[site] ?? 0
      for (let i = 0; i < end; i += 1) {
        const fits = (points.cols[i] ?? 0) <= (sites.cols[site] ?? 0)
        if (fits && (sites.each[site] ?? 0) < (price[i] ?? 0)) missing[i] = (missing[i] ?? 0) - 1
      }
    }
    const norm = missing.reduce((sum, value, i) => sum + value * value * (points.counts[i] ?? 0), 0)
    if (norm === 0) return false
    for (let i = 0; i < price.length; i += 1) price[i] = (price[i] ?? 0) + (gap / norm) * (missing[i] ?? 0)
    return true
  }

  /** Opens sites without which, and drops those with which, the bound is no better than the best choice known. */
  private fix({ bound, taken, worth }: Relaxed, open: readonly number[], free: Int32Array): Omit<Branch, 'price'> {
    const isFull = open.length + taken.length >= this.problem.most
    const isTaken = new Set(taken)
    const rest = Array.from(free).filter((site) => !isTaken.has(site))
    const leaves = isFull ? (worth[taken.at(-1) ?? -1] ?? 0) : 0
    const enters = isFull ? rest.reduce((least, site) => Math.min(least, worth[site] ?? 0), 0) : 0
    const forced = new Set(taken.filter((site) => bound - (worth[site] ?? 0) + enters >= this.enough))
    const isOut = (site: number): boolean => !isTaken.has(site) && bound + (worth[site] ?? 0) - leaves >= this.enough
    return { open: [...open, ...forced], free: free.filter((site) => !forced.has(site) && !isOut(site)) }
  }

  private holdsAll(sites: readonly number[]): boolean {
    const { points } = this.problem
    return points.rows.every((rows, i) =>
      sites.some(
        (site) =>
          (this.problem.sites.rows[site] ?? 0) >= rows && (this.problem.sites.cols[site] ?? 0) >= (points.cols[i] ?? 0),
      ),
    )
  }

  /** Keeps a choice that is better than all before, and gives its cost. */
  private consider(sites: readonly number[]): number {
    const cost = costOf(this.problem, sites)
    if (cost >= this.cost) return cost
    this.chosen = used(this.problem, sites)
    this.cost = costOf(this.problem, this.chosen)
    return cost
  }
}

function mostWorth(free: Int32Array, worth: Float64Array): number {
  return free.reduce((best, site) => ((worth[site] ?? 0) < (worth[best] ?? 0) ? site : best), free[0] ?? 0)
}

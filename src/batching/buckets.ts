import { VitpassError } from '../errors.ts'
import {
  assign,
  candidateGrids,
  costOf,
  makeProblem,
  type Point,
  type Problem,
  type Site,
  used,
} from './bucket-problem.ts'
import { searchBest } from './bucket-search.ts'
import { cutIntoRuns, exchange, isChain, orders } from './bucket-start.ts'
import { type CostModel, gridOf, imageCost, type Size, type Tokenizer } from './cost.ts'
import type { Bucket, BucketUse } from './hints.ts'
import { firstTooLarge } from './sizes.ts'

/** A size of images, and how many there are. */
export interface SizeCount extends Size {
  readonly count: number
}

export interface BucketOptions {
  readonly tokenizer: Tokenizer
  readonly cost: CostModel
  /** Buckets at most. */
  readonly most: number
  /** Images in a call at most. */
  readonly batch: number
  /** Tokens in a call at most, padding included; a call takes one image where that has more. Default: any number. */
  readonly batchTokens?: number
  /** The only size that the model takes. */
  readonly only?: Size
  /** Pairs of a size and a bucket that exchanges, and then the search, may look at; a billion, the default, takes some seconds. */
  readonly effort?: number
}

export type PlannedBucket = Bucket & BucketUse

export interface BucketPlan {
  /** Fewest tokens first. */
  readonly buckets: readonly PlannedBucket[]
  readonly images: number
  /** Of all tokens, the share that is padding. */
  readonly padding: number
  /** What all images cost, in the unit of the cost model. */
  readonly cost: number
  /** What they would cost in full calls without any padding. */
  readonly unpadded: number
  /** What they would cost in the smallest single bucket that holds them all. */
  readonly single: number
  /** No choice of buckets costs less than this. */
  readonly bound: number
  /** True where no other choice of as many buckets costs less, whatever their sizes. */
  readonly optimal: boolean
}

const DEFAULT_EFFORT = 1e9

/** Costs that differ by a smaller share are equal but for rounding. */
const ROUNDING = 1e-8

/**
 * Chooses at most `most` buckets so that every image fits one, height and width, and all images together cost least. An image goes to the
 * cheapest bucket that it fits. In a bucket with a batch of B it costs what its padded tokens cost, and 1/B of a call; each bucket
 * costs (B - 1) / 2B of a call more, as its last batch is filled to any degree.
 *
 * Bucket sizes are whole patches. The least cost is that over all choices of buckets of any sizes: padding to the smallest grid that holds
 * the images of a bucket is never worse, so only grids that join sizes of the list come into question. Sizes that fit one into another in
 * a row (all of one height, say) are solved by dynamic programming. For others dynamic programming over several orders gives a
 * start, which exchanges make better and branch and bound proves best, or improves; where the effort does not suffice for that, `optimal` is
 * false and `bound` says how much could be missing.
 *
 * @throws VitpassError BAD_OPTION where there is no size, or one that is not in whole pixels or does not fit `only`
 */
export function planBuckets(sizes: readonly SizeCount[], options: BucketOptions): BucketPlan {
  for (const { height, width, count } of sizes) {
    if ([height, width, count].every((n) => Number.isSafeInteger(n) && n > 0)) continue
    throw new VitpassError('BAD_OPTION', `${count} images of ${height}x${width} are no sizes`, {
      remedy: 'give heights, widths and counts as whole numbers from 1',
    })
  }
  const points = countGrids(sizes, options.tokenizer.patch)
  if (points.length === 0) throw new VitpassError('BAD_OPTION', 'there are no sizes', { remedy: 'give one at least' })
  if (options.only !== undefined) checkFit(sizes, options.only)
  const grids = options.only === undefined ? candidateGrids(points) : [gridOf(options.only, options.tokenizer.patch)]
  const problem = makeProblem(
    points,
    grids.map((grid) => siteFor(grid, options)),
    options.most,
  )
  return describe(problem, solve(problem, options.effort ?? DEFAULT_EFFORT), options)
}

interface Solved {
  readonly chosen: readonly number[]
  readonly cost: number
  readonly bound: number
}

function solve(problem: Problem, effort: number): Solved {
  const exact = (chosen: readonly number[]): Solved => {
    const cost = costOf(problem, chosen)
    return { chosen, cost, bound: cost }
  }
  if (problem.sites.each.length === 1) return exact([0])
  const cuts = orders(problem).map((order) => cutIntoRuns(problem, order))
  const [inOrder] = cuts
  if (inOrder != null && isChain(problem)) return exact(inOrder)
  const starts = cuts.filter((cut) => cut !== null)
  const all = holdingAll(problem)
  const best = [[all], ...starts].reduce((a, b) => (costOf(problem, b) < costOf(problem, a) ? b : a))
  return searchBest(problem, exchange(problem, best, effort), effort)
}

/** The smallest site that holds every point. */
function holdingAll({ points, sites }: Problem): number {
  const rows = Math.max(...points.rows)
  const cols = Math.max(...points.cols)
  return sites.each.findIndex((_, site) => (sites.rows[site] ?? 0) >= rows && (sites.cols[site] ?? 0) >= cols)
}

function countGrids(sizes: readonly SizeCount[], patch: Size): Point[] {
  const points = new Map<string, Point>()
  for (const size of sizes) {
    const grid = gridOf(size, patch)
    const key = `${grid.rows} ${grid.cols}`
    points.set(key, { ...grid, count: size.count + (points.get(key)?.count ?? 0) })
  }
  return [...points.values()]
}

function checkFit(sizes: readonly SizeCount[], only: Size): void {
  const large = firstTooLarge(sizes, only)
  if (large === undefined) return
  throw new VitpassError(
    'BAD_OPTION',
    `a size of ${large.height}x${large.width} does not fit ${only.height}x${only.width}, the only one that the model takes`,
    { remedy: 'run posenc too, which frees it, or leave such images out' },
  )
}

/** Images of so many tokens that a call takes. */
function batchFor(tokens: number, { batch, batchTokens = Number.POSITIVE_INFINITY }: BucketOptions): number {
  return Math.max(1, Math.min(batch, Math.floor(batchTokens / tokens)))
}

function siteFor({ rows, cols }: { readonly rows: number; readonly cols: number }, options: BucketOptions): Site {
  const { cost, tokenizer } = options
  const tokens = tokenizer.prefix + rows * cols
  const batch = batchFor(tokens, options)
  return {
    rows,
    cols,
    each: imageCost(tokens, cost) + cost.call / batch,
    opening: (cost.call * (batch - 1)) / (2 * batch),
  }
}

function unpaddedCost({ points }: Problem, options: BucketOptions): number {
  return points.counts.reduce((sum, count, i) => {
    const own = siteFor({ rows: points.rows[i] ?? 0, cols: points.cols[i] ?? 0 }, options)
    return sum + count * own.each
  }, 0)
}

function describe(problem: Problem, { chosen, cost, bound }: Solved, options: BucketOptions): BucketPlan {
  const { points, sites } = problem
  const { patch, prefix } = options.tokenizer
  const homes = assign(problem, chosen)
  const tally = (site: number): { images: number; own: number } =>
    homes.reduce(
      (sum, home, i) => {
        const count = home === site ? (points.counts[i] ?? 0) : 0
        const own = prefix + (points.rows[i] ?? 0) * (points.cols[i] ?? 0)
        return { images: sum.images + count, own: sum.own + count * own }
      },
      { images: 0, own: 0 },
    )
  const parts = used(problem, chosen).map((site) => {
    const rows = sites.rows[site] ?? 0
    const cols = sites.cols[site] ?? 0
    return { rows, cols, tokens: prefix + rows * cols, ...tally(site) }
  })
  const images = parts.reduce((sum, part) => sum + part.images, 0)
  const own = parts.reduce((sum, part) => sum + part.own, 0)
  const padded = parts.reduce((sum, part) => sum + part.images * part.tokens, 0)
  return {
    buckets: parts
      .sort((a, b) => a.tokens - b.tokens || a.rows - b.rows)
      .map((part) => ({
        height: part.rows * patch.height,
        width: part.cols * patch.width,
        batch: batchFor(part.tokens, options),
        tokens: part.tokens,
        images: part.images,
        padding: 1 - part.own / (part.images * part.tokens),
      })),
    images,
    padding: 1 - own / padded,
    cost,
    unpadded: unpaddedCost(problem, options),
    single: costOf(problem, [holdingAll(problem)]),
    bound,
    optimal: cost - bound <= ROUNDING * Math.abs(cost),
  }
}

import type { Size } from './cost.ts'
import type { Bucket } from './hints.ts'

export interface PlanOptions {
  /** What sizes are counted in, in pixels: images are cut to whole cells. 1 x 1 where no pixel may be lost. */
  readonly cell: Size
  /** Tokens that a cell costs: 1 for a patch. */
  readonly tokensPerCell: number
  /** Tokens that every image has beside its cells. */
  readonly extraTokens: number
  /** Attention's share: an image of t tokens costs t * (1 + quadratic * t). */
  readonly quadratic: number
  /** What a call costs beside its tokens, in tokens. */
  readonly callTokens: number
  /** Most tokens in a batch of more than one image, padding included. */
  readonly batchTokens: number
  /** Most images in a batch. */
  readonly batchImages: number
  /** Largest share of a batch's tokens that may be padding: 0 for images of equal size only. */
  readonly maxPadding: number
  /** How many batches run at once: no batch is made so large that a lane would stand idle. */
  readonly lanes: number
  /** Sizes to pad to, where the model names them; images that fit none are planned freely. */
  readonly buckets: readonly Bucket[]
}

export interface PlannedBatch extends Size {
  /** Positions in the list of sizes. */
  readonly members: readonly number[]
  /** Tokens computed, padding included. */
  readonly tokens: number
}

interface Item {
  readonly index: number
  readonly rows: number
  readonly cols: number
}

/** Work below so many times a call's cost is not divided among lanes. */
const LEAST_CALLS = 6

/**
 * Divides images into batches, each padded to its largest height and width in whole cells, at the least estimated cost: tokens with
 * padding, attention, and a fixed cost for each call. Sorted by rows or by columns, whichever comes out cheaper, every division of the
 * sorted list into runs is weighed (dynamic programming), so images of equal size meet, and unequal ones only where their padding costs
 * less than another call. The same list gives the same plan.
 *
 * Time grows with the number of images times the largest batch.
 */
export function planBatches(sizes: readonly Size[], options: PlanOptions): PlannedBatch[] {
  const { cell } = options
  const items = sizes.map(({ height, width }, index): Item => {
    return { index, rows: Math.floor(height / cell.height), cols: Math.floor(width / cell.width) }
  })
  const { batches, free } = fillBuckets(items, options)
  if (free.length === 0) return batches
  const limited = { ...options, batchTokens: Math.min(options.batchTokens, evenShare(free, options)) }
  const byRows = divide(
    free.toSorted((a, b) => a.rows - b.rows || a.cols - b.cols || a.index - b.index),
    limited,
  )
  if (options.maxPadding === 0) return [...batches, ...byRows.batches]
  const byCols = divide(
    free.toSorted((a, b) => a.cols - b.cols || a.rows - b.rows || a.index - b.index),
    limited,
  )
  return [...batches, ...(byCols.cost < byRows.cost ? byCols : byRows).batches]
}

/** Tokens in a batch that leave two batches for every lane. */
function evenShare(items: readonly Item[], options: PlanOptions): number {
  if (options.lanes <= 1) return Number.POSITIVE_INFINITY
  const total = items.reduce((sum, { rows, cols }) => sum + tokensOf(rows, cols, options), 0)
  return Math.max(total / (2 * options.lanes), LEAST_CALLS * options.callTokens)
}

/** Tokens of one image with so many rows and columns of cells. */
function tokensOf(rows: number, cols: number, { extraTokens, tokensPerCell }: PlanOptions): number {
  return extraTokens + rows * cols * tokensPerCell
}

/** The estimated cost of one call, in tokens. */
function costOf(images: number, tokens: number, { callTokens, quadratic }: PlanOptions): number {
  return callTokens + images * tokens * (1 + quadratic * tokens)
}

/** The cheapest division of a sorted list into runs that keep to the limits. */
function divide(items: readonly Item[], options: PlanOptions): { cost: number; batches: PlannedBatch[] } {
  const cheapest = new Float64Array(items.length + 1)
  const starts = new Int32Array(items.length + 1)
  for (let end = 1; end <= items.length; end++) {
    cheapest[end] = Number.POSITIVE_INFINITY
    let rows = 0
    let cols = 0
    let valid = 0
    for (let start = end - 1; start >= 0; start--) {
      const item = items[start]
      const images = end - start
      if (item === undefined || images > options.batchImages) break
      rows = Math.max(rows, item.rows)
      cols = Math.max(cols, item.cols)
      valid += tokensOf(item.rows, item.cols, options)
      const tokens = tokensOf(rows, cols, options)
      if (images > 1 && images * tokens > options.batchTokens) break
      const padding = images * tokens - valid
      if (images > 1 && padding > options.maxPadding * images * tokens + ROUNDING * valid) continue
      const cost = (cheapest[start] ?? 0) + costOf(images, tokens, options)
      if (cost < (cheapest[end] ?? 0)) {
        cheapest[end] = cost
        starts[end] = start
      }
    }
  }
  const batches: PlannedBatch[] = []
  for (let end = items.length; end > 0; end = starts[end] ?? 0) {
    batches.push(batchOf(items.slice(starts[end], end), options))
  }
  return { cost: cheapest[items.length] ?? 0, batches: batches.reverse() }
}

/** Far below one pixel's share of a batch: what adding tokens up may be off by. */
const ROUNDING = 1e-12

function batchOf(items: readonly Item[], options: PlanOptions): PlannedBatch {
  let rows = 0
  let cols = 0
  for (const item of items) {
    rows = Math.max(rows, item.rows)
    cols = Math.max(cols, item.cols)
  }
  return {
    members: items.map(({ index }) => index),
    height: rows * options.cell.height,
    width: cols * options.cell.width,
    tokens: items.length * tokensOf(rows, cols, options),
  }
}

/** Puts each image into the smallest bucket that holds it. */
function fillBuckets(
  items: readonly Item[],
  options: PlanOptions,
): { readonly batches: PlannedBatch[]; readonly free: readonly Item[] } {
  const { buckets, cell } = options
  const grids = buckets
    .map((bucket) => ({
      rows: Math.floor(bucket.height / cell.height),
      cols: Math.floor(bucket.width / cell.width),
      batch: Math.min(Math.max(1, bucket.batch), options.batchImages),
      held: [] as number[],
    }))
    .sort((a, b) => a.rows * a.cols - b.rows * b.cols || a.rows - b.rows)
  const free = items.filter((item) => {
    const fitting = grids.find(({ rows, cols }) => rows >= item.rows && cols >= item.cols)
    fitting?.held.push(item.index)
    return fitting === undefined
  })
  const batches = grids.flatMap(({ rows, cols, batch, held }) =>
    Array.from({ length: Math.ceil(held.length / batch) }, (_, i): PlannedBatch => {
      const members = held.slice(i * batch, (i + 1) * batch)
      const tokens = members.length * tokensOf(rows, cols, options)
      return { members, height: rows * cell.height, width: cols * cell.width, tokens }
    }),
  )
  return { batches, free }
}

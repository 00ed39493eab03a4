/** Height and width in pixels, of an image or of the padded images of a batch. */
export interface Size {
  readonly height: number
  readonly width: number
}

/** How a model cuts an image into tokens. */
export interface Tokenizer {
  /** Size of a patch in pixels. */
  readonly patch: Size
  /** Tokens in front of the patches, such as a class token. */
  readonly prefix: number
}

/**
 * What a call of the model costs, in any one unit: floating-point operations, or seconds on some machine. A call with `images` images of
 * `tokens` tokens each, padding included, costs `call + images * (linear * tokens + attention * tokens * tokens)`.
 */
export interface CostModel {
  /** For each token: the products with weights. */
  readonly linear: number
  /** For each pair of tokens of one image: attention scores and the sums weighted by them. */
  readonly attention: number
  /** For each call, whatever its size. */
  readonly call: number
}

/** The patches that an image takes, where a begun patch counts as a whole one. */
export function gridOf({ height, width }: Size, patch: Size): { readonly rows: number; readonly cols: number } {
  return { rows: Math.ceil(height / patch.height), cols: Math.ceil(width / patch.width) }
}

/** What is left of an image without begun patches: nothing of one that is smaller than a patch. */
export function cropToPatches({ height, width }: Size, patch: Size): Size {
  return { height: height - (height % patch.height), width: width - (width % patch.width) }
}

/** Tokens of an image of this size, begun patches included. */
export function tokensOf(size: Size, { patch, prefix }: Tokenizer): number {
  const { rows, cols } = gridOf(size, patch)
  return prefix + rows * cols
}

/** What one image of so many tokens adds to a call. */
export function imageCost(tokens: number, { linear, attention }: CostModel): number {
  return tokens * (linear + attention * tokens)
}

/** What a call costs that takes `images` images of `tokens` tokens each, padding included. */
export function callCost(images: number, tokens: number, cost: CostModel): number {
  return cost.call + images * imageCost(tokens, cost)
}

/** About what a call costs beside its arithmetic, in operations: half a millisecond on one core of 40 GFLOP/s. */
const CALL_FLOPS = 2e7

/**
 * Counts floating-point operations from the size of a vision transformer. A weight takes part in one multiplication and one addition for
 * each token. A block of the usual shape has 12 * hidden^2 weights and spends 4 * hidden operations on each pair of tokens, so
 * that pairs cost `weights / (3 * hidden)` over all blocks.
 * @param hidden features of a token
 * @param weights weights in matrices that every token is multiplied with
 */
export function estimateCost({ hidden, weights }: { readonly hidden: number; readonly weights: number }): CostModel {
  return { linear: 2 * weights, attention: weights / (3 * hidden), call: CALL_FLOPS }
}

/** A call that was timed. */
export interface TimedCall {
  readonly images: number
  /** Tokens of each image. */
  readonly tokens: number
  readonly seconds: number
}

/**
 * The constants in seconds that explain timed calls best: least squares of the relative errors, none of them below 0. Solved exactly, by
 * trying every choice of constants that are 0. Two different token counts and two different numbers of images tell all constants apart.
 * All are 0 where there are no calls.
 */
export function fitCost(calls: readonly TimedCall[]): CostModel {
  const rows = calls.map(({ images, tokens, seconds }) =>
    [images * tokens, images * tokens * tokens, 1].map((term) => term / seconds),
  )
  let best = { constants: [0, 0, 0], error: rows.length }
  for (let choice = 1; choice < 8; choice += 1) {
    const used = [0, 1, 2].filter((term) => choice & (1 << term))
    const solved = leastSquares(rows.map((row) => used.map((term) => row[term] ?? 0)))
    if (solved === null || solved.some((constant) => constant < 0)) continue
    const constants = [0, 1, 2].map((term) => solved[used.indexOf(term)] ?? 0)
    const error = rows.reduce((sum, row) => sum + (dot(row, constants) - 1) ** 2, 0)
    if (error < best.error) best = { constants, error }
  }
  const [linear = 0, attention = 0, call = 0] = best.constants
  return { linear, attention, call }
}

/** The x for which every `row . x` is closest to 1; null where the rows do not tell. Columns are scaled to length 1 before solving. */
function leastSquares(rows: readonly (readonly number[])[]): number[] | null {
  const size = rows[0]?.length ?? 0
  const scale = Array.from({ length: size }, (_, i) => Math.hypot(...rows.map((row) => row[i] ?? 0)))
  const scaled = rows.map((row) => row.map((term, i) => term / (scale[i] ?? 1)))
  const system = Array.from({ length: size }, (_, i) => [
    ...Array.from({ length: size }, (_, j) => scaled.reduce((sum, row) => sum + (row[i] ?? 0) * (row[j] ?? 0), 0)),
    scaled.reduce((sum, row) => sum + (row[i] ?? 0), 0),
  ])
  const solved = solve(system)
  return solved === null ? null : solved.map((value, i) => value / (scale[i] ?? 1))
}

/** Below this a pivot is rounding: columns of length 1 make the largest pivot 1. */
const SINGULAR = 1e-9

/** Solves a square system given as rows of coefficients and right-hand side; null where it is singular. */
function solve(system: readonly (readonly number[])[]): number[] | null {
  const rows = system.map((row) => [...row])
  const size = rows.length
  for (let at = 0; at < size; at += 1) {
    const [pivot] = rows.slice(at).sort((a, b) => Math.abs(b[at] ?? 0) - Math.abs(a[at] ?? 0))
    const lead = pivot?.[at] ?? 0
    if (pivot === undefined || Math.abs(lead) < SINGULAR) return null
    rows.splice(rows.indexOf(pivot), 1)
    rows.splice(at, 0, pivot)
    for (const [i, row] of rows.entries()) {
      const factor = (row[at] ?? 0) / lead
      if (i !== at) for (let j = at; j <= size; j += 1) row[j] = (row[j] ?? 0) - factor * (pivot[j] ?? 0)
    }
  }
  return rows.map((row, i) => (row[size] ?? 0) / (row[i] ?? 1))
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0)
}

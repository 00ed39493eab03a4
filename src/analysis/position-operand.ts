import { VitpassError } from '../errors.ts'
import { type Dim, isInt, layoutKey, terms } from '../ir/dim.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { shapeSummary } from './describe.ts'
import { dependsOnSize, type GridDims, isPatchRow } from './grid.ts'
import { type Dense, permuted, StridedView, viewOf } from './strided.ts'
import type { GridOperand } from './token-sites.ts'
import type { Trace } from './trace.ts'

/** Axes that hold the batch, the tokens and the channels, such as [0, 1, 2]. */
export type AxisOrder = readonly [batch: number, tokens: number, channels: number]

/** What meets the tokens at a site, and how its axes lie among those of the result. */
export interface PositionOperand {
  readonly site: GridOperand
  /** To be replaced. */
  readonly value: Value
  readonly order: AxisOrder
  /** Tokens in front of the patches. */
  readonly prefix: number
  readonly patches: number
  /** Tokens behind them. */
  readonly suffix: number
  readonly channels: number
}

export function refusePositions(
  found: string,
  node: Node,
  remedy = 'encode this model in groups of equal size instead',
): VitpassError {
  return new VitpassError('PASS_REFUSED', found, { node: node.label, remedy })
}

/** @throws VitpassError PASS_REFUSED where the tokens do not lie as prefix, patches and suffix along one axis behind the batch */
export function readOperand(site: GridOperand, trace: Trace): PositionOperand {
  const { node, slot, dims } = site
  const value = node.input(slot)
  if (value === null) throw new VitpassError('INTERNAL', 'a position operand is missing', { node: node.label })
  const along = dims.flatMap((dim, axis) => (dependsOnSize(dim) ? [axis] : []))
  const batchAxis = dims.findIndex((dim) => layoutKey(dim) === 'batch')
  const [tokenAxis = -1] = along
  const channelAxis = channelAxisOf(value, dims, [batchAxis, tokenAxis], trace)
  const [tokens, channels] = [dims[tokenAxis], dims[channelAxis]]
  if (batchAxis < 0 || along.length !== 1 || tokens === undefined || channels === undefined) {
    throw refusePositions(`positions meet ${shapeSummary(dims)}, not [batch, tokens, channels]`, node)
  }
  const around = tokensAround(tokens, trace)
  if (around === null) {
    throw refusePositions(`positions are added to tokens laid out as ${layoutKey(tokens)}`, node)
  }
  return {
    site,
    value,
    order: [batchAxis, tokenAxis, channelAxis],
    ...around,
    patches: trace.sizes.rows * trace.sizes.cols,
    channels: channels.n,
  }
}

/** The last axis along which the operand itself has several elements, batch and tokens aside; else the last axis of all. */
function channelAxisOf(value: Value, dims: readonly Dim[], taken: readonly number[], { facts }: Trace): number {
  const own = facts.dims(value) ?? []
  const free = dims.map((_, axis) => axis).filter((axis) => !taken.includes(axis))
  const wide = free.filter((axis) => (own[axis - dims.length + own.length]?.n ?? 1) > 1)
  return wide.at(-1) ?? free.at(-1) ?? -1
}

/** How many other tokens stand before and behind the patches; null where an axis is not those and the patches, once, in reading order. */
export function tokensAround(tokens: Dim, grid: GridDims): { readonly prefix: number; readonly suffix: number } | null {
  const parts = terms(tokens)
  const at = parts.findIndex((term) => isPatchRow(term, grid))
  const [before, behind] = [parts.slice(0, at), parts.slice(at + 1)]
  if (at < 0 || ![...before, ...behind].every(isInt)) return null
  const count = (some: readonly Dim[]): number => some.reduce((n, term) => n + term.n, 0)
  return { prefix: count(before), suffix: count(behind) }
}

/**
 * The operand as [tokens, channels]: along batch, heads and other axes it must repeat one table.
 * @throws VitpassError PASS_REFUSED where it does not, or where it has no row for each of the tokens
 */
export function tokenRows(dense: Dense, { site, order, channels }: PositionOperand, tokens: number): Float64Array {
  const missing = site.dims.length - dense.dims.length
  const { base, dims, strides, offset } = viewOf(dense)
  const whole = new StridedView(
    base,
    [...Array<number>(missing).fill(1), ...dims],
    [...Array<number>(missing).fill(0), ...strides],
    offset,
  )
  const [, tokenAxis, channelAxis] = order
  if (whole.dims[tokenAxis] !== tokens || whole.dims[channelAxis] !== channels) {
    throw refusePositions(`the position table is [${dense.dims.join(', ')}], not one row for each token`, site.node)
  }
  const others = whole.dims.map((_, axis) => axis).filter((axis) => axis !== tokenAxis && axis !== channelAxis)
  const { data } = permuted(whole, [...others, tokenAxis, channelAxis])
  const size = tokens * channels
  const rows = data.subarray(0, size)
  for (let at = size; at < data.length; at += size) {
    if (!isSame(data.subarray(at, at + size), rows)) {
      throw refusePositions('the position table differs between the images of the batch, or between heads', site.node)
    }
  }
  return rows
}

export function isSame(a: Float64Array, b: Float64Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return false
  return true
}

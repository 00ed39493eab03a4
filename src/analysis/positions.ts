import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { slice } from './dependence.ts'
import { evaluate } from './evaluate.ts'
import type { Facts } from './facts.ts'
import { isSame, type PositionOperand, refusePositions, tokenRows } from './position-operand.ts'
import { type ResizeKind, readResize } from './resize-kind.ts'
import { type Rounding, roundingsBetween } from './rounding.ts'
import { type Dense, permuted, StridedView, viewOf } from './strided.ts'
import type { Trace } from './trace.ts'

/** Rows and columns of a table. */
export interface Grid {
  readonly rows: number
  readonly cols: number
}

/** A learned position table and the place where it is added to the tokens. */
export interface PositionTable {
  readonly kind: 'table'
  readonly operand: PositionOperand
  /** Rows for the tokens in front of the patches: [prefix, hidden]. */
  readonly prefix: Dense
  /** Rows for the tokens behind them: [suffix, hidden]. */
  readonly suffix: Dense
  /** The table on its native grid: [rows, cols, hidden]. */
  readonly table: Dense
  /** Null where the file does not say: the table is added as it is, at one size only. */
  readonly resize: { readonly kind: ResizeKind; readonly offset: number; readonly node: Node } | null
  /** What a quantised graph rounds the resized table to before it adds it. */
  readonly roundings: readonly Rounding[]
}

/** The Resize nodes that make an operand. */
export function resizesOf({ value }: PositionOperand, { facts }: Trace): Node[] {
  return slice(facts.graph, value).filter((node) => node.opType === 'Resize' || node.opType === 'Upsample')
}

/**
 * Reads the position table off the operand that is added to the tokens: the stored table, the rows of the tokens around the
 * patches, and the Resize between them if there is one. What lies between is computed, not matched, and where a Resize is met, every element
 * of the operand is traced to the element of the resized table that it is.
 *
 * @param native the table's own grid, where the caller knows it
 * @param kind how its library resizes it, where the caller knows better than the graph
 * @throws VitpassError PASS_REFUSED or MODEL_UNSUPPORTED naming the node that hides the table
 */
export function readTable(
  operand: PositionOperand,
  trace: Trace,
  native: Grid | null,
  kind: ResizeKind | null = null,
): PositionTable {
  const resizes = resizesOf(operand, trace)
  if (resizes.length > 1)
    throw refusePositions(`the position table is resized ${resizes.length} times`, operand.site.node)
  const [resize] = resizes
  return resize === undefined ? bakedTable(operand, trace, native) : resizedTable(operand, trace, resize, kind)
}

/** A table that is added as it is: it lies on the grid of the export, unless the caller knows another. */
function bakedTable(operand: PositionOperand, trace: Trace, native: Grid | null): PositionTable {
  const { site, value, patches, channels: hidden } = operand
  const { rows, cols } = native ?? trace.sizes
  if (rows * cols !== patches) {
    throw refusePositions(
      `the position table has ${patches} entries, which are not ${rows}x${cols}`,
      site.node,
      `give the table's own grid, ROWSxCOLS with ${patches} entries, as --option posenc.native=`,
    )
  }
  if (native === null && rows !== cols) {
    throw refusePositions(
      `the position table is baked for a grid of ${rows}x${cols}: that may be the size of the export, in which case the model's own table is gone`,
      site.node,
      `if it is the model's own grid, say so with --option posenc.native=${rows}x${cols}; else export at the native size`,
    )
  }
  const { prefix, table, suffix } = parted(evaluate(value, trace.facts), operand)
  return {
    kind: 'table',
    operand,
    prefix,
    suffix,
    table: { dims: [rows, cols, hidden], data: table },
    resize: null,
    roundings: [],
  }
}

/** A table behind a Resize: every element of the operand is traced to the element of the resized table that it is. */
function resizedTable(
  operand: PositionOperand,
  { facts, opset, sizes }: Trace,
  resize: Node,
  kind: ResizeKind | null,
): PositionTable {
  const { value, patches, channels: hidden } = operand
  const [source, resized] = [resize.input(0), resize.output(0)]
  if (source === null || resized === null) throw refusePositions('a Resize without input', resize)
  const stored = evaluate(source, facts)
  const [one, channels, rows = 1, cols = 1] = stored.dims
  if (stored.dims.length !== 4 || one !== 1 || channels !== hidden) {
    throw refusePositions(`a Resize of [${stored.dims.join(', ')}]`, resize)
  }
  const outDims = facts.dims(resized)?.map((dim) => dim.n) ?? []
  if (outDims[2] !== sizes.rows || outDims[3] !== sizes.cols) {
    throw refusePositions(`the position table is resized to ${outDims[2]}x${outDims[3]}, not to the patch grid`, resize)
  }
  // Markers above every weight show which element of the resized table each element of the operand is: they count through the patches.
  const base = 2 ** 40
  const counted = new Float64Array(hidden * patches)
  for (let i = 0; i < counted.length; i += 1) counted[i] = base + i
  const [, , high = 1, wide = 1] = outDims
  const markers = permuted({ dims: [1, high, wide, hidden], data: counted }, [0, 3, 1, 2])
  const roundings = roundingsBetween(resized, value, facts)
  const exact = parted(evaluate(value, facts, new Map([[resized, markers]]), true), operand)
  const view = viewOf(stored)
  if (!isSame(exact.table, counted)) {
    throw refusePositions('the resized position table is not added row by row to the patches', resize)
  }
  if ([exact.prefix, exact.suffix].some(({ data }) => data.some((x) => x >= base)))
    throw refusePositions('a token that is no patch takes its position from the resized table', resize)
  const { prefix, suffix } = roundings.length === 0 ? exact : roundedAround(operand, resized, outDims, facts)
  return {
    kind: 'table',
    operand,
    prefix,
    suffix,
    table: permuted(new StridedView(view.base, [hidden, rows, cols], view.strides.slice(1), view.offset), [1, 2, 0]),
    resize: { ...readResize(resize, facts, opset, [rows, cols], kind), node: resize },
    roundings,
  }
}

interface Parted {
  readonly prefix: Dense
  /** Rows of the patches: [patches * hidden]. */
  readonly table: Float64Array
  readonly suffix: Dense
}

/** The rows of the prefix, the patches and the suffix. */
function parted(dense: Dense, operand: PositionOperand): Parted {
  const { prefix, patches, suffix, channels: hidden } = operand
  const all = tokenRows(dense, operand, prefix + patches + suffix)
  const rows = (from: number, count: number) => all.slice(from * hidden, (from + count) * hidden)
  return {
    prefix: { dims: [prefix, hidden], data: rows(0, prefix) },
    table: rows(prefix, patches),
    suffix: { dims: [suffix, hidden], data: rows(prefix + patches, suffix) },
  }
}

/** Positions of prefix and suffix as a graph that quantises rounds them. */
function roundedAround(operand: PositionOperand, resized: Value, dims: readonly number[], facts: Facts): Parted {
  const { value, channels: hidden, patches } = operand
  const blank = { dims, data: new Float64Array(hidden * patches) }
  return parted(evaluate(value, facts, new Map([[resized, blank]])), operand)
}

import { VitpassError } from '../errors.ts'
import { type Dim, layoutKey, terms } from '../ir/dim.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { slice } from './dependence.ts'
import { shapeSummary } from './describe.ts'
import { evaluate } from './evaluate.ts'
import { dependsOnSize, isPatchRow, isTokenRow } from './grid.ts'
import { type ResizeKind, readResize } from './resize-kind.ts'
import { type Dense, permuted, StridedView, viewOf } from './strided.ts'
import type { GridOperand } from './token-sites.ts'
import type { Trace } from './trace.ts'

/** Rows and columns of a table. */
export interface Grid {
  readonly rows: number
  readonly cols: number
}

/** Axes that hold the batch, the tokens and the hidden size, such as [0, 1, 2]. */
export type AxisOrder = readonly [batch: number, tokens: number, hidden: number]

/** A learned position table and the place where it is added to the tokens. */
export interface PositionTable {
  readonly site: GridOperand
  /** The operand that it makes, to be replaced. */
  readonly value: Value
  /** Where batch, tokens and hidden stand among those axes. */
  readonly order: AxisOrder
  /** Rows for the tokens in front of the patches: [prefix, hidden]. */
  readonly prefix: Dense
  /** The table on its native grid: [rows, cols, hidden]. */
  readonly table: Dense
  /** Null where the file does not say: the table is added as it is, at one size only. */
  readonly resize: { readonly kind: ResizeKind; readonly offset: number; readonly node: Node } | null
}

/**
 * Reads the position table off the operand that is added to the tokens: the stored table, the rows of the prefix, and the
 * Resize between them if there is one. What lies between is computed, not matched, and where a Resize is met, every element
 * of the operand is traced to the element of the resized table that it is.
 *
 * @param native the table's own grid, where the caller knows it
 * @param kind how its library resizes it, where the caller knows better than the graph
 * @throws VitpassError PASS_REFUSED or MODEL_UNSUPPORTED naming the node that hides the table
 */
export function readPositions(
  site: GridOperand,
  trace: Trace,
  native: Grid | null,
  kind: ResizeKind | null = null,
): PositionTable {
  const operand = readOperand(site, trace)
  const resizes = slice(trace.facts.graph, operand.value).filter(
    (node) => node.opType === 'Resize' || node.opType === 'Upsample',
  )
  if (resizes.length > 1) throw refused(`the position table is resized ${resizes.length} times`, site.node)
  const [resize] = resizes
  return resize === undefined ? bakedTable(operand, trace, native) : resizedTable(operand, trace, resize, kind)
}

/** What is added to the tokens, and how its axes lie. */
interface Operand {
  readonly site: GridOperand
  readonly value: Value
  readonly order: AxisOrder
  readonly prefix: number
  readonly patches: number
  readonly hidden: number
}

function refused(
  found: string,
  node: Node,
  remedy = 'encode this model in groups of equal size instead',
): VitpassError {
  return new VitpassError('PASS_REFUSED', found, { node: node.label, remedy })
}

function readOperand(site: GridOperand, trace: Trace): Operand {
  const { node, slot, dims } = site
  const value = node.input(slot)
  if (value === null) throw new VitpassError('INTERNAL', 'a position operand is missing', { node: node.label })
  if (dims.length > 3 && slice(trace.facts.graph, value).some((maker) => maker.is('Cos', 'Sin'))) {
    throw refused('rotary position embeddings, computed from the image size, are not rewritten yet', node)
  }
  const tokenAxis = dims.findIndex(dependsOnSize)
  const batchAxis = dims.findIndex((dim) => layoutKey(dim) === 'batch')
  const hiddenAxis = 3 - tokenAxis - batchAxis
  const [tokens, hidden] = [dims[tokenAxis], dims[hiddenAxis]]
  if (dims.length !== 3 || batchAxis < 0 || tokens === undefined || hidden === undefined) {
    throw refused(`positions are added to ${shapeSummary(dims)}, not to [batch, tokens, hidden]`, node)
  }
  if (!isPrefixThenGrid(tokens, trace)) {
    throw refused(`positions are added to tokens laid out as ${layoutKey(tokens)}`, node)
  }
  const patches = trace.sizes.rows * trace.sizes.cols
  return {
    site,
    value,
    order: [batchAxis, tokenAxis, hiddenAxis],
    prefix: tokens.n - patches,
    patches,
    hidden: hidden.n,
  }
}

/** A table that is added as it is: it lies on the grid of the export, unless the caller knows another. */
function bakedTable(operand: Operand, trace: Trace, native: Grid | null): PositionTable {
  const { site, value, prefix, patches, hidden } = operand
  if (trace.facts.dims(value)?.some(dependsOnSize) === true) {
    throw refused('position embeddings are computed from the image size, and not by resizing a stored table', site.node)
  }
  const { rows, cols } = native ?? trace.sizes
  if (rows * cols !== patches) {
    throw refused(
      `the position table has ${patches} entries, which are not ${rows}x${cols}`,
      site.node,
      `give the table's own grid, ROWSxCOLS with ${patches} entries, as --option posenc.native=`,
    )
  }
  if (native === null && rows !== cols) {
    throw refused(
      `the position table lies on a ${rows}x${cols} grid, which may be the size of the export and not the model's own`,
      site.node,
      `if it is the model's own grid, say so with --option posenc.native=${rows}x${cols}; else export at the native size`,
    )
  }
  const all = tokenRows(evaluate(value, trace.facts), operand)
  return {
    ...placed(operand),
    prefix: { dims: [prefix, hidden], data: all.slice(0, prefix * hidden) },
    table: { dims: [rows, cols, hidden], data: all.slice(prefix * hidden) },
    resize: null,
  }
}

/** A table behind a Resize: every element of the operand is traced to the element of the resized table that it is. */
function resizedTable(
  operand: Operand,
  { facts, opset, sizes }: Trace,
  resize: Node,
  kind: ResizeKind | null,
): PositionTable {
  const { value, prefix, patches, hidden } = operand
  const [source, resized] = [resize.input(0), resize.output(0)]
  if (source === null || resized === null) throw refused('a Resize without input', resize)
  const stored = evaluate(source, facts)
  const [one, channels, rows = 1, cols = 1] = stored.dims
  if (stored.dims.length !== 4 || one !== 1 || channels !== hidden) {
    throw refused(`a Resize of [${stored.dims.join(', ')}]`, resize)
  }
  const outDims = facts.dims(resized)?.map((dim) => dim.n) ?? []
  if (outDims[2] !== sizes.rows || outDims[3] !== sizes.cols) {
    throw refused(`the position table is resized to ${outDims[2]}x${outDims[3]}, not to the patch grid`, resize)
  }
  // Markers above every weight show which element of the resized table each element of the operand is: they count through the patches.
  const base = 2 ** 40
  const counted = new Float64Array(hidden * patches)
  for (let i = 0; i < counted.length; i += 1) counted[i] = base + i
  const [, , high = 1, wide = 1] = outDims
  const markers = permuted({ dims: [1, high, wide, hidden], data: counted }, [0, 3, 1, 2])
  const all = tokenRows(evaluate(value, facts, new Map([[resized, markers]])), operand)
  const view = viewOf(stored)
  const front = all.slice(0, prefix * hidden)
  const behind = all.subarray(prefix * hidden)
  if (!isSame(behind, counted)) {
    throw refused('the resized position table is not added row by row to the patches', resize)
  }
  if (front.some((x) => x >= base)) throw refused('a prefix token takes its position from the resized table', resize)
  return {
    ...placed(operand),
    prefix: { dims: [prefix, hidden], data: front },
    table: permuted(new StridedView(view.base, [hidden, rows, cols], view.strides.slice(1), view.offset), [1, 2, 0]),
    resize: { ...readResize(resize, facts, opset, [rows, cols], kind), node: resize },
  }
}

function placed({ site, value, order }: Operand): Pick<PositionTable, 'site' | 'value' | 'order'> {
  return { site, value, order }
}

/** Patches in reading order, behind a fixed number of other tokens or none. */
function isPrefixThenGrid(tokens: Dim, trace: Trace): boolean {
  const last = terms(tokens).at(-1)
  return isTokenRow(tokens, trace) && last !== undefined && isPatchRow(last, trace)
}

/** The operand as [tokens, hidden]: its batch, where it has one, must repeat one table. */
function tokenRows(dense: Dense, { site, order, hidden }: Operand): Float64Array {
  const missing = 3 - dense.dims.length
  const { base, dims, strides, offset } = viewOf(dense)
  const whole = new StridedView(
    base,
    [...Array<number>(missing).fill(1), ...dims],
    [...Array<number>(missing).fill(0), ...strides],
    offset,
  )
  const { dims: turned, data } = permuted(whole, order)
  const [batch = 1, tokens = 0, width = 0] = turned
  if (tokens !== site.dims[order[1]]?.n || width !== hidden) {
    throw refused(`the position table is [${dense.dims.join(', ')}], not one row for each token`, site.node)
  }
  const size = tokens * hidden
  const rows = data.subarray(0, size)
  for (let b = 1; b < batch; b += 1) {
    if (!isSame(data.subarray(b * size, (b + 1) * size), rows)) {
      throw refused('the position table differs between the images of the traced batch', site.node)
    }
  }
  return rows
}

function isSame(a: Float64Array, b: Float64Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return false
  return true
}

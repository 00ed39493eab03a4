import { VitpassError } from '../errors.ts'
import { type Dim, layoutKey, terms } from '../ir/dim.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { slice } from './dependence.ts'
import { shapeSummary } from './describe.ts'
import { type Dense, evaluate } from './evaluate.ts'
import { type Facts, listOf } from './facts.ts'
import { dependsOnSize, isPatchRow, isTokenRow } from './grid.ts'
import type { GridOperand } from './token-sites.ts'
import type { Trace } from './trace.ts'

/** How a position table is resized to another grid. */
export const RESIZE_KINDS = ['cubic', 'bilinear', 'aa-cubic', 'aa-bilinear'] as const

export type ResizeKind = (typeof RESIZE_KINDS)[number]

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
  /** Axes of the tokens that it is added to, such as [batch, tokens, hidden]. */
  readonly dims: readonly Dim[]
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
  const { facts } = trace
  const value = site.node.input(site.slot)
  if (value === null) throw new VitpassError('INTERNAL', 'a position operand is missing', { node: site.node.label })
  const refuse = (
    found: string,
    node: Node = site.node,
    remedy = 'encode this model in groups of equal size instead',
  ): never => {
    throw new VitpassError('PASS_REFUSED', found, { node: node.label, remedy })
  }
  const tokenAxis = site.dims.findIndex(dependsOnSize)
  const batchAxis = site.dims.findIndex((dim) => layoutKey(dim) === 'batch')
  const hiddenAxis = 3 - tokenAxis - batchAxis
  if (slice(facts.graph, value).some((node) => node.is('Cos', 'Sin')) && site.dims.length > 3) {
    return refuse('rotary position embeddings, computed from the image size, are not rewritten yet')
  }
  if (site.dims.length !== 3 || tokenAxis < 0 || batchAxis < 0) {
    return refuse(`positions are added to ${shapeSummary(site.dims)}, not to [batch, tokens, hidden]`)
  }
  const order: AxisOrder = [batchAxis, tokenAxis, hiddenAxis]
  const tokens = site.dims[tokenAxis] as Dim
  if (!isPrefixThenGrid(tokens, trace)) return refuse(`positions are added to tokens laid out as ${layoutKey(tokens)}`)
  const patches = trace.sizes.rows * trace.sizes.cols
  const prefixCount = tokens.n - patches
  const hidden = site.dims[hiddenAxis]?.n ?? 0

  const resizes = slice(facts.graph, value).filter((node) => node.opType === 'Resize' || node.opType === 'Upsample')
  if (resizes.length > 1) return refuse(`the position table is resized ${resizes.length} times`)
  const [resize] = resizes
  if (resize === undefined) {
    const operand = facts.dims(value) ?? []
    if (operand.some((dim) => dependsOnSize(dim))) {
      return refuse('position embeddings are computed from the image size, and not by resizing a stored table')
    }
    const grid = native ?? { rows: trace.sizes.rows, cols: trace.sizes.cols }
    if (grid.rows * grid.cols !== patches) {
      return refuse(
        `the position table has ${patches} entries, which are not ${grid.rows}x${grid.cols}`,
        site.node,
        `give the table's own grid, ROWSxCOLS with ${patches} entries, as --option posenc.native=`,
      )
    }
    if (native === null && grid.rows !== grid.cols) {
      return refuse(
        `the position table lies on a ${grid.rows}x${grid.cols} grid, which may be the size of the export and not the model's own`,
        site.node,
        `if it is the model's own grid, say so with --option posenc.native=${grid.rows}x${grid.cols}; else export at the native size`,
      )
    }
    const rows = tokenRows(evaluate(value, facts), site, order)
    if (rows === null) return refuse('the position table differs between the images of the traced batch')
    const cut = prefixCount * hidden
    return {
      site,
      value,
      dims: site.dims,
      order,
      prefix: { dims: [prefixCount, hidden], data: rows.slice(0, cut) },
      table: { dims: [grid.rows, grid.cols, hidden], data: rows.slice(cut) },
      resize: null,
    }
  }
  const source = resize.input(0)
  const resized = resize.output(0)
  if (source === null || resized === null) return refuse('a Resize without input', resize)
  const stored = evaluate(source, facts)
  const outDims = facts.dims(resized)?.map((dim) => dim.n) ?? []
  const [one, channels, storedRows = 1, storedCols = 1] = stored.dims
  if (stored.dims.length !== 4 || one !== 1 || channels !== hidden)
    return refuse(`a Resize of [${stored.dims.join(', ')}]`, resize)
  if (outDims[2] !== trace.sizes.rows || outDims[3] !== trace.sizes.cols) {
    return refuse(`the position table is resized to ${outDims[2]}x${outDims[3]}, not to the patch grid`, resize)
  }
  // Markers above every weight show which element of the resized table each element of the operand is.
  const base = 2 ** 40
  const markers = { dims: outDims, data: new Float64Array(hidden * patches) }
  for (let i = 0; i < markers.data.length; i += 1) markers.data[i] = base + i
  const rows = tokenRows(evaluate(value, facts, new Map([[resized, markers]])), site, order)
  if (rows === null) return refuse('the position table differs between the images of the traced batch')
  const cut = prefixCount * hidden
  for (let patch = 0; patch < patches; patch += 1) {
    for (let d = 0; d < hidden; d += 1) {
      if (rows[cut + patch * hidden + d] !== base + d * patches + patch) {
        return refuse('the resized position table is not added row by row to the patches', resize)
      }
    }
  }
  const prefix = rows.slice(0, cut)
  if (prefix.some((x) => x >= base)) return refuse('a prefix token takes its position from the resized table', resize)
  const table = new Float64Array(stored.data.length)
  const cells = storedRows * storedCols
  for (let d = 0; d < hidden; d += 1)
    for (let p = 0; p < cells; p += 1) table[p * hidden + d] = stored.data[d * cells + p] ?? 0
  return {
    site,
    value,
    dims: site.dims,
    order,
    prefix: { dims: [prefixCount, hidden], data: prefix },
    table: { dims: [storedRows, storedCols, hidden], data: table },
    resize: { ...readResize(resize, facts, trace.opset, [storedRows, storedCols], kind), node: resize },
  }
}

/** Patches in reading order, behind a fixed number of other tokens or none. */
function isPrefixThenGrid(tokens: Dim, trace: Trace): boolean {
  const last = terms(tokens).at(-1)
  return isTokenRow(tokens, trace) && last !== undefined && isPatchRow(last, trace)
}

/** The operand as [tokens, hidden]: its batch, where it has one, must repeat one table. Null where it does not. */
function tokenRows(dense: Dense, site: GridOperand, order: AxisOrder): Float64Array | null {
  const dims = [...dense.dims]
  while (dims.length < 3) dims.unshift(1)
  const strides = [(dims[1] ?? 1) * (dims[2] ?? 1), dims[2] ?? 1, 1]
  const [batch = 1, tokens = 0, hidden = 0] = order.map((axis) => dims[axis])
  const [batchStep = 0, tokenStep = 0, hiddenStep = 0] = order.map((axis) => strides[axis])
  if (tokens !== site.dims[order[1]]?.n || hidden !== site.dims[order[2]]?.n) return null
  const rows = new Float64Array(tokens * hidden)
  for (let b = 0; b < batch; b += 1) {
    for (let t = 0; t < tokens; t += 1) {
      const from = b * batchStep + t * tokenStep
      for (let d = 0; d < hidden; d += 1) {
        const x = dense.data[from + d * hiddenStep] ?? Number.NaN
        if (b === 0) rows[t * hidden + d] = x
        else if (x !== rows[t * hidden + d]) return null
      }
    }
  }
  return rows
}

/** Reads a Resize node's interpolation; refuses what differs from every known library's. */
function readResize(
  node: Node,
  facts: Facts,
  opset: number,
  native: readonly [number, number],
  given: ResizeKind | null,
): { kind: ResizeKind; offset: number } {
  const refuse = (found: string): never => {
    throw new VitpassError('PASS_REFUSED', `the position table's Resize has ${found}`, {
      node: node.label,
      remedy: 'say how the library resizes it with --option posenc.kind=cubic|bilinear|aa-cubic|aa-bilinear',
    })
  }
  const offset = () => (node.input(3) === null ? scaleOffset(node, facts, opset, native, refuse) : 0)
  if (given !== null) return { kind: given, offset: offset() }
  const mode = node.string('mode', 'nearest')
  const antialias = node.int('antialias', 0) === 1
  const exclude = node.int('exclude_outside', 0) === 1
  const coordinates = node.string('coordinate_transformation_mode', 'half_pixel')
  const a = node.float('cubic_coeff_a', -0.75)
  if (coordinates !== 'half_pixel' && coordinates !== 'pytorch_half_pixel') refuse(`coordinates "${coordinates}"`)
  if (antialias !== exclude)
    refuse(antialias ? 'antialias without exclude_outside' : 'exclude_outside without antialias')
  if (mode === 'cubic' && Math.abs(a - (antialias ? -0.5 : -0.75)) > 1e-6) refuse(`cubic_coeff_a ${a}`)
  if (mode !== 'cubic' && mode !== 'linear') refuse(`mode "${mode}"`)
  const kind: ResizeKind =
    mode === 'cubic' ? (antialias ? 'aa-cubic' : 'cubic') : antialias ? 'aa-bilinear' : 'bilinear'
  return { kind, offset: offset() }
}

/** The 0.1 that older exports add: scales are (n + 0.1) / G there, so `scale * G - n` is 0.1. */
function scaleOffset(
  node: Node,
  facts: Facts,
  opset: number,
  native: readonly [number, number],
  refuse: (found: string) => never,
): number {
  const contents = facts.contents(node.input(opset < 11 ? 1 : 2))
  const scales = contents === null ? refuse('scales that are not known') : listOf(contents).map((dim) => dim.n)
  const offsets = native.map((size, i) => {
    const wide = (scales[i + 2] ?? 1) * size
    return wide - Math.floor(wide + 1e-4)
  })
  const [first = 0, second = 0] = offsets
  if (Math.abs(first - second) > 1e-3) refuse(`scales that add ${first} and ${second}`)
  if (Math.abs(first) < 1e-3) return 0
  return Math.abs(first - 0.1) < 1e-3 ? 0.1 : refuse(`scales that add ${first} to the size`)
}

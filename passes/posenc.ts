import { matchGivenTable } from '../src/analysis/given-table.ts'
import { isComputedTable, type LikelyResize, likelyResize } from '../src/analysis/likely-resize.ts'
import { type Grid, type PositionTable, readPositions } from '../src/analysis/positions.ts'
import { RESIZE_KINDS, type ResizeKind } from '../src/analysis/resize-kind.ts'
import { followTokens } from '../src/analysis/token-flow.ts'
import { type Trace, trace } from '../src/analysis/trace.ts'
import { isFloat } from '../src/ir/dtype.ts'
import { tidy } from '../src/ir/edit.ts'
import type { Model } from '../src/ir/model.ts'
import { readProvenance, writeProvenance } from '../src/ir/provenance.ts'
import { pairOption, readPair } from '../src/pipeline/options.ts'
import { type Pass, type PassOptions, type PassResult, refuse } from '../src/pipeline/pass.ts'
import { TensorOption } from '../src/pipeline/tensor-option.ts'
import { builderFor } from '../src/rewrite/builder-for.ts'
import { positionsOnTightGrids, type ResizeRule } from '../src/rewrite/position-grid.ts'
import { Validity } from '../src/rewrite/validity.ts'

/**
 * Gives every image the position embeddings of its own tight grid, instead of one table for the padded size, and 0 at padding.
 *
 * The operand that is added to the tokens and depends on the grid but not on the pixels is traced back to the stored table; whatever
 * resized it is replaced by weights computed for each image. A table that was baked in at one size does not say how its library
 * resizes it: `kind` tells, and the report says what was assumed. Refuses where the stored table cannot be reached, or where its
 * native grid cannot be known.
 */
export const posenc: Pass = {
  name: 'posenc',
  version: 1,
  summary: "puts position embeddings on each image's own grid",
  options: {
    kind: {
      describe:
        'how the table is resized: auto follows the graph; where it does not say, it goes by how libraries build such models',
      type: 'string',
      default: 'auto',
      choices: ['auto', ...RESIZE_KINDS],
    },
    offset: {
      describe:
        'what the library adds to the length in patches before it takes the scale: 0.1 in transformers before 4.46 and others',
      type: 'number',
      default: 0,
      minimum: 0,
    },
    native: pairOption(
      "the table's own grid as ROWSxCOLS, where the file does not show it",
      'ROWSxCOLS, such as 14x14',
    ),
    table: {
      describe: 'the table that the model was trained with, where the export kept only what it resized it to',
      type: 'tensor',
      default: 'none',
    },
  },
  requires: ['dynshape'],
  run(model, options) {
    const native = nativeGrid(options)
    const traced = trace(model)
    const flow = followTokens(model.graph, traced)
    const sites = flow.operands.filter((operand) => operand.kind === 'tokens')
    if (sites.length === 0) return { status: 'nothing', notes: ['no position table depends on the image size'] }
    const kind = RESIZE_KINDS.find((known) => known === options.kind) ?? null
    const { table: given } = options
    if (given instanceof TensorOption) {
      const stored = sites.map((site) => readPositions(site, traced, traced.sizes, kind))
      return placeGiven(model, traced, stored, given, native)
    }
    const tables = sites.map((site) => readPositions(site, traced, native, kind))
    const computed = tables.find((table) => table.resize === null && kind === null && isComputedTable(table))
    if (computed !== undefined) {
      return refuse(
        'the position table holds sines and cosines, and the file does not say whether they are computed anew or resized for another size',
        computed.site.node,
        'if the library resizes them, say how with --option posenc.kind=cubic; else encode this model in groups of equal size',
      )
    }
    const notes = new Set<string>()
    const rules = tables.map((table) =>
      chooseRule(table, kind, Number(options.offset), likelyResize(table, flow, traced), notes),
    )
    for (const table of tables) {
      const dtype = traced.facts.dtype(table.value)
      if (dtype === undefined || !isFloat(dtype))
        return refuse(`positions of type ${dtype ?? 'unknown'}`, table.site.node)
    }
    placeTables(model, traced, tables, rules)
    return { status: 'applied', sites: { 'position table': tables.length }, notes: [...notes] }
  },
}

/** Puts the given table in place of the one that the file holds; how it is resized shows in what the file made of it. */
function placeGiven(
  model: Model,
  traced: Trace,
  stored: readonly PositionTable[],
  given: TensorOption,
  native: Grid | null,
): PassResult {
  const matched = stored.map((table) => matchGivenTable(table, given, native))
  placeTables(
    model,
    traced,
    matched.map(({ table }) => table),
    matched,
  )
  const notes = matched.map(({ table, kind, offset }) => {
    const [rows, cols] = table.table.dims
    return `the given ${rows}x${cols} position table gives the file's own by ${kind}${offset === 0 ? '' : ` +${offset}`}`
  })
  return { status: 'applied', sites: { 'position table': matched.length }, notes }
}

function nativeGrid(options: PassOptions): Grid | null {
  const pair = readPair(options.native)
  return pair === null ? null : { rows: pair[0], cols: pair[1] }
}

function chooseRule(
  { resize, table }: PositionTable,
  kind: ResizeKind | null,
  offset: number,
  likely: LikelyResize,
  notes: Set<string>,
): ResizeRule {
  if (resize !== null) {
    if (kind !== null && kind !== resize.kind)
      notes.add(`the graph resizes positions by ${resize.kind}; ${kind} was asked for`)
    return { kind: kind ?? resize.kind, offset: offset === 0 ? resize.offset : offset }
  }
  const [rows, cols] = table.dims
  const how =
    kind === null
      ? `assumed to be resized by ${likely.kind} (${likely.because}; posenc.kind says otherwise)`
      : `resized by ${kind} as asked`
  notes.add(
    `the file holds one position table, taken as the native ${rows}x${cols} grid; ${how}; if the model was trained on another grid, its table is gone from the file: give it as posenc.table`,
  )
  return { kind: kind ?? likely.kind, offset }
}

function placeTables(
  model: Model,
  traced: Trace,
  tables: readonly PositionTable[],
  rules: readonly ResizeRule[],
): void {
  const builder = builderFor(model, traced, 'posenc')
  const validity = Validity.in(model, traced, builder)
  for (const [i, table] of tables.entries()) {
    const { node, slot } = table.site
    const dtype = traced.facts.dtype(table.value)
    const rule = rules[i]
    if (rule === undefined || dtype === undefined || !isFloat(dtype)) continue
    const wide = positionsOnTightGrids(builder, validity, table, rule)
    const typed = dtype === 'float' ? wide : builder.cast(wide, { to: dtype })
    node.setInput(
      slot,
      isInOrder(table) ? typed : builder.transpose(typed, { perm: [0, 1, 2].map((axis) => table.order.indexOf(axis)) }),
    )
  }
  tidy(model.graph)
  if (readProvenance(model).grid !== undefined) writeProvenance(model, { grid: undefined })
}

/** True where the table is added to [batch, tokens, hidden] as it is. */
function isInOrder({ order }: PositionTable): boolean {
  return order.every((axis, i) => axis === i)
}

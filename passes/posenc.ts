import type { WavePositions } from '../src/analysis/computed-positions.ts'
import { COORDINATES, type Coordinates } from '../src/analysis/coordinates.ts'
import { matchGivenTable } from '../src/analysis/given-table.ts'
import { isComputedTable, type LikelyResize, likelyResize } from '../src/analysis/likely-resize.ts'
import { otherInputs } from '../src/analysis/other-inputs.ts'
import { PositionReader, type Positions, positionSites } from '../src/analysis/position-reader.ts'
import type { Grid, PositionTable } from '../src/analysis/positions.ts'
import { RESIZE_KINDS, type ResizeKind } from '../src/analysis/resize-kind.ts'
import { followTokens } from '../src/analysis/token-flow.ts'
import { type Trace, trace } from '../src/analysis/trace.ts'
import { type DType, isFloat } from '../src/ir/dtype.ts'
import { tidy } from '../src/ir/edit.ts'
import type { Model } from '../src/ir/model.ts'
import { readProvenance, writeProvenance } from '../src/ir/provenance.ts'
import type { Value } from '../src/ir/value.ts'
import { pairOption, readPair } from '../src/pipeline/options.ts'
import { type Pass, type PassOptions, type PassResult, refuse } from '../src/pipeline/pass.ts'
import { TensorOption } from '../src/pipeline/tensor-option.ts'
import { builderFor } from '../src/rewrite/builder-for.ts'
import type { ResizeRule } from '../src/rewrite/position-grid.ts'
import { TightPositions } from '../src/rewrite/positions.ts'
import { Validity } from '../src/rewrite/validity.ts'

/**
 * Gives every image the position embeddings of its own tight grid, instead of one table for the padded size, and 0 at padding.
 *
 * The operand that meets the tokens and depends on the grid but not on the pixels is traced back to the stored table, whose resize is
 * replaced by weights computed for each image, or, where it is computed as rotary embeddings are, to the rule that makes it, which is
 * applied to each image's own lengths. A table that was baked in at one size does not say how its library follows the size: `kind` and
 * `rotary` tell, and the report says what was assumed. Refuses where the stored table or the rule cannot be reached, or where its
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
    rotary: {
      describe:
        'how coordinates of rotary positions made for one size follow another: counted, spread over the image, or centred on each axis, the longer or the shorter; auto follows the graph',
      type: 'string',
      default: 'auto',
      choices: ['auto', ...COORDINATES],
    },
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
    const others = otherInputs(model, traced.patch)
    if (others.length > 0) return { status: 'refused', refusals: others }
    const flow = followTokens(model.graph, traced)
    const sites = positionSites(flow)
    if (sites.length === 0) return { status: 'nothing', notes: ['no position table depends on the image size'] }
    const kind = RESIZE_KINDS.find((known) => known === options.kind) ?? null
    const coordinates = COORDINATES.find((known) => known === options.rotary) ?? null
    const given = options.table instanceof TensorOption ? options.table : null
    const reader = new PositionReader(flow, traced, {
      native: given === null ? native : traced.sizes,
      kind,
      coordinates,
    })
    const found = sites.map((site) => reader.read(site))
    if (given !== null) return placeGiven(model, traced, found, given, native)
    const tables = found.filter((positions) => positions.kind === 'table')
    const computed = tables.find((table) => table.resize === null && kind === null && isComputedTable(table))
    if (computed !== undefined) {
      return refuse(
        'the position table holds sines and cosines, and the file does not say whether they are computed anew or resized for another size',
        computed.operand.site.node,
        'if the library resizes them, say how with --option posenc.kind=cubic; else encode this model in groups of equal size',
      )
    }
    const notes = new Set<string>()
    const likely = (table: PositionTable) => likelyResize(table, flow, traced)
    const sited = found.map((positions): Sited => {
      if (positions.kind === 'table')
        return { positions, rule: chooseRule(positions, kind, Number(options.offset), likely(positions), notes) }
      for (const note of describeWaves(positions, coordinates)) notes.add(note)
      return { positions, rule: null }
    })
    for (const { operand } of found) {
      const dtype = traced.facts.dtype(operand.value)
      if (dtype === undefined || !isFloat(dtype))
        return refuse(`positions of type ${dtype ?? 'unknown'}`, operand.site.node)
    }
    placePositions(model, traced, sited)
    const counts = { 'position table': tables.length, 'rotary table': found.length - tables.length }
    return {
      status: 'applied',
      sites: Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0)),
      notes: [...notes],
    }
  },
}

/** Positions, and how their table is resized, where they are one. */
interface Sited {
  readonly positions: Positions
  readonly rule: ResizeRule | null
}

/** Puts the given table in place of the one that the file holds; how it is resized shows in what the file made of it. */
function placeGiven(
  model: Model,
  traced: Trace,
  found: readonly Positions[],
  given: TensorOption,
  native: Grid | null,
): PassResult {
  const notes: string[] = []
  const sited = found.map((positions): Sited => {
    if (positions.kind !== 'table') return { positions, rule: null }
    const { table, ...rule } = matchGivenTable(positions, given, native)
    const [rows, cols] = table.table.dims
    const offset = rule.offset === 0 ? '' : ` +${rule.offset}`
    notes.push(`the given ${rows}x${cols} position table gives the file's own by ${rule.kind}${offset}`)
    return { positions: table, rule }
  })
  if (notes.length === 0) return refuse('positions are computed, and a table is given', found[0]?.operand.site.node)
  placePositions(model, traced, sited)
  return { status: 'applied', sites: { 'position table': notes.length }, notes }
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

/** What was assumed of coordinates that do not follow the image size by themselves. */
function describeWaves({ rule, frozen, alternatives }: WavePositions, wanted: Coordinates | null): string[] {
  if (frozen === null) {
    const unused = wanted !== null && wanted !== rule.name
    return unused ? [`the graph's own coordinates follow the image size (${rule.name}); posenc.rotary is not used`] : []
  }
  const others = alternatives.length === 0 ? '' : ` (${alternatives.join(' and ')} would fit as well: posenc.rotary)`
  const how = wanted === null ? `taken as ${rule.name}${others}` : `taken as ${rule.name}, as asked`
  return [`rotary coordinates are made for ${frozen.rows}x${frozen.cols} patches and wrong at other sizes; ${how}`]
}

function placePositions(model: Model, traced: Trace, sited: readonly Sited[]): void {
  const builder = builderFor(model, traced, 'posenc')
  const validity = Validity.in(model, traced, builder)
  const tight = new TightPositions(builder, validity)
  const made = new Map<string, Value>()
  for (const { positions, rule } of sited) {
    const { site, value } = positions.operand
    const dtype = traced.facts.dtype(value)
    if (dtype === undefined || !isFloat(dtype)) continue
    const key = sharedBy(positions, dtype)
    const known = made.get(key)
    const placed = known ?? builder.cast(tight.make(positions, rule), { to: dtype })
    made.set(key, placed)
    site.node.setInput(site.slot, placed)
  }
  tidy(model.graph)
  if (readProvenance(model).grid !== undefined) writeProvenance(model, { grid: undefined })
}

/** Text that is equal for positions that are: rotary ones serve queries and keys of every layer. */
function sharedBy(positions: Positions, dtype: DType): string {
  const { value, order, site } = positions.operand
  const what = positions.kind === 'table' ? value.name : [positions.rule, positions.waves, [...positions.prefix.data]]
  return JSON.stringify([what, order, site.dims.length, dtype])
}

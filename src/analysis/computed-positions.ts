import {
  agreeing,
  COORDINATE_RULES,
  type CoordinateRule,
  type Coordinates,
  centreOf,
  type FreeWave,
  freed,
  freeWaveAt,
} from './coordinates.ts'
import { slice } from './dependence.ts'
import { GridTables, type Sampled } from './grid-tables.ts'
import { type PositionOperand, refusePositions } from './position-operand.ts'
import { readRotation } from './rotation.ts'
import type { Dense } from './strided.ts'
import type { GridOperand } from './token-sites.ts'
import type { Trace } from './trace.ts'
import { fitWave, type GridTable, profiles, type Wave } from './waves.ts'

/** Positions that are sines and cosines of a patch's coordinates, such as those of rotary embeddings. */
export interface WavePositions {
  readonly kind: 'waves'
  readonly operand: PositionOperand
  /** Rows for the tokens in front of the patches: [prefix, channels]. */
  readonly prefix: Dense
  readonly rule: CoordinateRule
  /** One for each channel. */
  readonly waves: readonly FreeWave[]
  /** The grid that the file's coordinates were made for, whatever the image's size: it is wrong at others. Null where they follow. */
  readonly frozen: { readonly rows: number; readonly cols: number } | null
  /** Other rules that the file agrees with as well. */
  readonly alternatives: readonly Coordinates[]
}

/** True for what is computed from the grid, or multiplied into the tokens: no table that is added to them. */
export function isComputed({ value, site }: PositionOperand, trace: Trace): boolean {
  return site.node.is('Mul') || slice(trace.facts.graph, value).some((node) => node.is('Cos', 'Sin', 'Range'))
}

/**
 * Reads how computed positions come about. The graph's own table is computed at one grid that tells frequencies, phases and amplitudes
 * of every channel, and then at others: a rule counts only where it gives them all. A table that follows no other grid, because the
 * coordinates or all of it were computed at export, is read as cosines and sines of the exported grid, with the partner that the tokens
 * meet in the same rotation.
 *
 * @param sites the other places where the grid meets the tokens
 * @param wanted the rule, where the caller knows it
 * @throws VitpassError PASS_REFUSED where no rule gives the graph's own table, or where several do that differ
 */
export function readComputed(
  operand: PositionOperand,
  trace: Trace,
  sites: readonly GridOperand[],
  wanted: Coordinates | null,
): WavePositions {
  const tables = new GridTables(operand, trace, sites)
  const fitted = tables.at(FITTED.rows, FITTED.cols)
  if (fitted !== null) return readFollowing(tables, fitted, wanted)
  const { rows, cols } = trace.sizes
  return readFrozen(tables, tables.here(), { rows, cols }, wanted)
}

/** Lengths that tell rows from columns, with room for what is divided by the shorter one to stay under half a turn a patch. */
const FITTED = { rows: 23, cols: 19 }

/** Grids at which a rule has to give the graph's own table. */
const PROVED = [
  [2, 7],
  [7, 3],
  [5, 5],
  [11, 29],
  [1, 4],
  [6, 1],
] as const

/** The graph's table and what a rule gives are both computed in double precision. */
const EXACT = 1e-6

/** A file's own table was rounded. */
const ROUNDED = { float: 4e-6, double: 4e-6, float16: 6e-4, bfloat16: 5e-3 } as const

/** Radians by which the phase of a channel may be off: constants in single precision, counted from patches far away. */
const PHASE = 5e-5

/** The same for each unit of the error in a file's own table. */
const ROUNDED_PHASE = 8

const CHOOSE = 'say how the library makes them with --option posenc.rotary=index|stretch|separate|max|min|corners'

/** A table that the graph makes at every grid. */
function readFollowing(tables: GridTables, fitted: Sampled, wanted: Coordinates | null): WavePositions {
  const { operand } = tables
  const { node } = operand.site
  const found = profiles(fitted.patches, EXACT)
  if (found === null) {
    throw refusePositions('positions are computed from the image size, and not from rows and columns apart', node)
  }
  const waves = found.map(fitWave)
  const free = (rule: CoordinateRule) => waves.map((wave) => freed(wave, rule, FITTED.rows, FITTED.cols))
  const follows = (rule: CoordinateRule): WavePositions => ({
    kind: 'waves',
    operand,
    prefix: { dims: [operand.prefix, operand.channels], data: fitted.prefix },
    rule,
    waves: free(rule),
    frozen: null,
    alternatives: [],
  })
  if (proves(tables, fitted, COUNTED, free(COUNTED))) {
    // What does not change with the grid is counted from the first patch, or was made for one grid.
    const isCounted = agreeing(waves, { rows: 1, cols: 1 }, PHASE).some(({ name }) => name === 'index')
    return isCounted && isUnit(waves) ? follows(COUNTED) : readFrozen(tables, fitted, null, wanted)
  }
  const rule = COORDINATE_RULES.find((one) => one.name !== 'index' && proves(tables, fitted, one, free(one)))
  if (rule !== undefined) return follows(rule)
  throw refusePositions('positions are computed from the image size by a rule that is not known', node)
}

const COUNTED: CoordinateRule = { name: 'index', shift: 0 }

/** Counted coordinates turn the fastest channel by a radian a patch; another number may come from one size. */
function isUnit(waves: readonly Wave[]): boolean {
  return Math.abs(Math.max(...waves.map(({ step }) => Math.abs(step))) - 1) < 1e-3
}

/**
 * A table that is the same at every size, or fits one only: its coordinates were made for the exported grid. How far apart the channels'
 * angles are is read together with the other table of the rotation, since over few patches an angle may move by more than half a turn.
 *
 * @param grid the exported grid; null where the coordinates themselves have to tell, being centred on it
 */
function readFrozen(
  tables: GridTables,
  sampled: Sampled,
  grid: { readonly rows: number; readonly cols: number } | null,
  wanted: Coordinates | null,
): WavePositions {
  const { operand } = tables
  const { node } = operand.site
  const { rows, cols } = sampled.patches
  const partner = tables.partner()
  const beside = grid === null ? partner?.at(rows, cols) : partner?.here()
  if (beside === undefined || beside === null) {
    throw refusePositions('the tokens meet positions made for one size, which are no rotation', node)
  }
  const tolerance = grid === null ? EXACT : ROUNDED[tables.dtype()]
  const waves = readRotation(sampled.patches, beside.patches, tolerance)
  if (waves === null) {
    throw refusePositions('positions made for one size are not read as cosines and sines of rows and columns', node)
  }
  const phase = grid === null ? PHASE : ROUNDED_PHASE * tolerance
  const made = grid ?? centreOf(waves, phase)
  if (made === null || (grid === null && made.rows * made.cols === 1)) {
    throw refusePositions('the coordinates of positions do not follow the image size', node)
  }
  const fits = agreeing(waves, made, phase).filter(({ name }) => name !== 'index' || (grid !== null && isUnit(waves)))
  const rule = choose(operand, fits, wanted)
  const free = waves.map((wave) => freed(wave, rule, made.rows, made.cols))
  const asIs = grid === null ? waves.map((wave) => freed(wave, COUNTED, rows, cols)) : free
  if (!gives(sampled.patches, grid === null ? COUNTED : rule, asIs, 2 * tolerance)) {
    throw refusePositions('positions made for one size are not what their coordinates give', node)
  }
  const names = new Set(fits.map(({ name }) => name))
  return {
    kind: 'waves',
    operand,
    prefix: { dims: [operand.prefix, operand.channels], data: sampled.prefix },
    rule,
    waves: free,
    frozen: { rows: made.rows, cols: made.cols },
    alternatives: [...names].filter((name) => name !== rule.name),
  }
}

/** The rule to go by: the one asked for, or the likeliest. Counted and stretched look alike at one size, and none is likelier. */
function choose(
  { site }: PositionOperand,
  fits: readonly CoordinateRule[],
  wanted: Coordinates | null,
): CoordinateRule {
  const [likeliest] = fits
  if (wanted !== null) {
    const asked = wanted === 'index' ? COUNTED : fits.find(({ name }) => name === wanted)
    if (asked !== undefined) return asked
    throw refusePositions(`positions in the file are not made by ${wanted} coordinates`, site.node, CHOOSE)
  }
  if (likeliest === undefined) {
    throw refusePositions(
      'the coordinates of positions were computed for one size by a rule that is not known',
      site.node,
    )
  }
  if (likeliest.name === 'index' && fits.some(({ name }) => name === 'stretch')) {
    const found = 'positions made for one size are counted, or stretched over the image: the file does not say'
    throw refusePositions(found, site.node, CHOOSE)
  }
  return likeliest
}

function proves(tables: GridTables, fitted: Sampled, rule: CoordinateRule, waves: readonly FreeWave[]): boolean {
  if (!gives(fitted.patches, rule, waves, EXACT)) return false
  return PROVED.every(([rows, cols]) => {
    const sampled = tables.at(rows, cols)
    // Some libraries divide by one less than the length, which a single row does not allow: what they make of it counts for nothing.
    if (sampled === null || sampled.patches.data.some(Number.isNaN)) return rows === 1 || cols === 1
    const samePrefix = sampled.prefix.every((x, i) => Math.abs(x - (fitted.prefix[i] ?? Number.NaN)) <= EXACT)
    return samePrefix && gives(sampled.patches, rule, waves, EXACT)
  })
}

/** True where the waves give every element of a table. */
function gives(table: GridTable, rule: CoordinateRule, waves: readonly FreeWave[], tolerance: number): boolean {
  const { rows, cols, channels, data } = table
  for (const [channel, wave] of waves.entries()) {
    for (let patch = 0; patch < rows * cols; patch += 1) {
      const index = wave.axis === 'rows' ? Math.floor(patch / cols) : patch % cols
      const wanted = data[patch * channels + channel] ?? Number.NaN
      if (!(Math.abs(freeWaveAt(wave, rule, index, rows, cols) - wanted) <= tolerance)) return false
    }
  }
  return waves.length === channels
}

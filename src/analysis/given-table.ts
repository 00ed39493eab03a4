import { VitpassError } from '../errors.ts'
import type { Grid, PositionTable } from './positions.ts'
import { resampled } from './resample.ts'
import { RESIZE_KINDS, type ResizeKind } from './resize-kind.ts'
import type { Dense } from './strided.ts'

/** The table that a model was trained with, given by the caller, and how the export resized it. */
export interface GivenTable {
  readonly table: PositionTable
  readonly kind: ResizeKind
  readonly offset: number
}

/** Largest difference, in parts of the table's own size, between what the file holds and what the given table is resized to. */
const NEAR = 1e-3

/**
 * Puts the table that a model was trained with in place of the one that its export resized to one size and kept. The given one has to
 * make the file's own: rows of other tokens than patches as they are, the others by some resize that libraries use. That says how it is resized, too.
 *
 * @param stored the file's table, at the grid of the export
 * @param given [rows, cols, hidden], or [prefix + rows * cols + suffix, hidden] with or without both and an axis of 1 in front
 * @param native the given table's grid, where it is not square
 * @throws VitpassError PASS_REFUSED where the given table is not the one that the file's was made of
 */
export function matchGivenTable(stored: PositionTable, given: Dense, native: Grid | null): GivenTable {
  if (stored.resize !== null) throw refused(stored, 'the file still has its own position table: none is to be given')
  const { around, table } = readGiven(stored, given, native)
  const [rows = 0, cols = 0] = stored.table.dims
  if (table.dims[0] === rows && table.dims[1] === cols) {
    throw refused(stored, `the given position table lies on the ${rows}x${cols} grid that the file's own lies on`)
  }
  const size = Math.max(
    1e-6,
    stored.table.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0),
  )
  const own = Float64Array.from([...stored.prefix.data, ...stored.suffix.data])
  if (around !== null && apart(around, own) > NEAR * size) {
    throw refused(stored, 'the given position table has other rows for the tokens around the patches than the file')
  }
  const ways = [0, 0.1].flatMap((offset) => RESIZE_KINDS.map((kind) => ({ kind, offset })))
  const tried = ways.map((way) => ({ way, off: apart(resampled(table, { rows, cols }, way), stored.table.data) }))
  const best = tried.reduce((one, other) => (other.off < one.off ? other : one))
  if (best.off <= NEAR * size) return { table: { ...stored, table }, ...best.way }
  throw refused(
    stored,
    `the given position table does not give the file's own at ${rows}x${cols}, however it is resized`,
  )
}

/** The largest difference of two arrays of one length. */
function apart(a: Float64Array, b: Float64Array): number {
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - (b[i] ?? Number.POSITIVE_INFINITY))), 0)
}

function readGiven(
  stored: PositionTable,
  given: Dense,
  native: Grid | null,
): { readonly around: Float64Array | null; readonly table: Dense } {
  const [, , hidden = 0] = stored.table.dims
  const { prefix, suffix } = stored.operand
  const dims = given.dims[0] === 1 ? given.dims.slice(1) : given.dims
  if (dims.at(-1) !== hidden || dims.length < 2 || dims.length > 3) {
    throw refused(
      stored,
      `the given position table is [${given.dims.join(', ')}], not one row of ${hidden} for each token`,
    )
  }
  const count = dims.slice(0, -1).reduce((n, length) => n * length, 1)
  const [rows, cols] = dims.length === 3 ? dims : [native?.rows, native?.cols]
  for (const [front, back] of prefix + suffix > 0
    ? ([
        [prefix, suffix],
        [0, 0],
      ] as const)
    : ([[0, 0]] as const)) {
    const skipped = front + back
    const side = Math.sqrt(count - skipped)
    const grid = rows !== undefined && cols !== undefined ? [rows, cols] : [side, side]
    const [high = 0, wide = 0] = grid
    if (!Number.isInteger(high) || high * wide !== count - skipped) continue
    const end = (count - back) * hidden
    const data = given.data.slice(front * hidden, end)
    return {
      around:
        skipped === 0
          ? null
          : Float64Array.from([...given.data.subarray(0, front * hidden), ...given.data.subarray(end)]),
      table: { dims: [high, wide, hidden], data },
    }
  }
  throw refused(
    stored,
    `the given position table has ${count} rows, which are no square grid`,
    'give its grid as posenc.native=ROWSxCOLS',
  )
}

function refused({ operand: { site } }: PositionTable, found: string, remedy?: string): VitpassError {
  return new VitpassError('PASS_REFUSED', found, {
    node: site.node.label,
    remedy: remedy ?? 'give the table of the model that this file was exported from, or none',
  })
}

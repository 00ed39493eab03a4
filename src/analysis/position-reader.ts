import type { Value } from '../ir/value.ts'
import { isComputed, readComputed, type WavePositions } from './computed-positions.ts'
import type { Coordinates } from './coordinates.ts'
import { readOperand, refusePositions } from './position-operand.ts'
import { type Grid, type PositionTable, readTable, resizesOf } from './positions.ts'
import type { ResizeKind } from './resize-kind.ts'
import type { GridOperand, TokenFlow } from './token-sites.ts'
import type { Trace } from './trace.ts'

/** What the grid adds to the tokens, or multiplies into them: a stored table, or waves over rows and columns. */
export type Positions = PositionTable | WavePositions

/** What a caller knows better than the file. */
export interface PositionHints {
  /** The table's own grid. */
  readonly native?: Grid | null
  /** How its library resizes it. */
  readonly kind?: ResizeKind | null
  /** How a patch's place becomes the coordinate of computed positions. */
  readonly coordinates?: Coordinates | null
}

/** The places where positions meet the tokens. */
export function positionSites({ operands }: TokenFlow): readonly GridOperand[] {
  return operands.filter(({ kind }) => kind === 'tokens')
}

/** Reads positions off the places where they meet the tokens; what many layers share is read once. */
export class PositionReader {
  private readonly sites: readonly GridOperand[]
  private readonly trace: Trace
  private readonly hints: PositionHints
  private readonly known = new Map<Value, WavePositions>()

  constructor(flow: TokenFlow, trace: Trace, hints: PositionHints = {}) {
    this.sites = positionSites(flow)
    this.trace = trace
    this.hints = hints
  }

  /** @throws VitpassError PASS_REFUSED or MODEL_UNSUPPORTED naming the node that hides the positions */
  read(site: GridOperand): Positions {
    const { trace, hints } = this
    const operand = readOperand(site, trace)
    if (resizesOf(operand, trace).length > 0 || !isComputed(operand, trace)) {
      return readTable(operand, trace, hints.native ?? null, hints.kind ?? null)
    }
    if (operand.suffix > 0)
      throw refusePositions('computed positions meet tokens that stand behind the patches', site.node)
    const same = this.known.get(operand.value)
    if (
      same !== undefined &&
      same.operand.order.join() === operand.order.join() &&
      same.operand.prefix === operand.prefix
    ) {
      return { ...same, operand }
    }
    const found = readComputed(operand, trace, this.sites, hints.coordinates ?? null)
    this.known.set(operand.value, found)
    return found
  }
}

import { layoutKey } from '../ir/dim.ts'
import { type FloatType, isFloat } from '../ir/dtype.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { slice } from './dependence.ts'
import { evaluate } from './evaluate.ts'
import type { Facts } from './facts.ts'
import { type PositionOperand, readOperand, tokenRows } from './position-operand.ts'
import type { Dense } from './strided.ts'
import type { GridOperand } from './token-sites.ts'
import type { Trace } from './trace.ts'
import type { GridTable } from './waves.ts'

/** What a graph makes for the tokens at one grid: rows for the prefix [prefix, channels], and for every patch. */
export interface Sampled {
  readonly prefix: Float64Array
  readonly patches: GridTable
}

/** The graph's own positions at one place where they meet the tokens, at any grid at which the graph can compute them. */
export class GridTables {
  readonly operand: PositionOperand
  private readonly trace: Trace
  private readonly sites: readonly GridOperand[]

  /** @param sites all places where the grid meets the tokens */
  constructor(operand: PositionOperand, trace: Trace, sites: readonly GridOperand[]) {
    this.operand = operand
    this.trace = trace
    this.sites = sites
  }

  /** Null where the graph does not make a row for each patch of such a grid. */
  at(rows: number, cols: number): Sampled | null {
    const { value, site, order } = this.operand
    const facts = this.trace.at(rows, cols)
    const own = facts.dims(value)
    const length = own?.[order[1] - site.dims.length + own.length]?.n
    if (length !== this.operand.prefix + rows * cols || !agrees(value, facts)) return null
    return this.sample(evaluate(value, facts), rows, cols)
  }

  /** At the grid of the trace, at which everything agrees. */
  here(): Sampled {
    const { facts, sizes } = this.trace
    return this.sample(evaluate(this.operand.value, facts), sizes.rows, sizes.cols)
  }

  /** The other table of a rotation `x * cos + turned(x) * sin`: its product is added to this one's. Null where there is none. */
  partner(): GridTables | null {
    const { value, site } = this.operand
    for (const sum of usersOf(site.node)) {
      if (!sum.is('Add', 'Sub')) continue
      const found = this.sites.find(({ node }) => node !== site.node && node.is('Mul') && usersOf(node).includes(sum))
      if (found !== undefined && sameShape(this.trace.facts, value, found.node.input(found.slot)))
        return new GridTables(readOperand(found, this.trace), this.trace, this.sites)
    }
    return null
  }

  dtype(): FloatType {
    const dtype = this.trace.facts.dtype(this.operand.value)
    return dtype !== undefined && isFloat(dtype) ? dtype : 'float'
  }

  private sample(dense: Dense, rows: number, cols: number): Sampled {
    const { prefix, channels } = this.operand
    const all = tokenRows(dense, this.operand, prefix + rows * cols)
    return {
      prefix: all.slice(0, prefix * channels),
      patches: { rows, cols, channels, data: all.slice(prefix * channels) },
    }
  }
}

/** True where every shape behind a value agrees. */
function agrees(value: Value, facts: Facts): boolean {
  const makers = new Set(slice(facts.graph, value))
  return !facts.disagreements.some(({ kind, node }) => kind === 'impossible' && makers.has(node))
}

function sameShape(facts: Facts, a: Value | null, b: Value | null): boolean {
  const [left, right] = [facts.dims(a), facts.dims(b)]
  return left !== null && right !== null && left.map(layoutKey).join() === right.map(layoutKey).join()
}

/** What reads a node's result, casts between them aside. */
function usersOf(node: Node): Node[] {
  const users = node.output(0)?.users ?? []
  return users.flatMap((user) => (user.is('Cast', 'Identity') ? usersOf(user) : [user]))
}

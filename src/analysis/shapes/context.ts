import {
  type Dim,
  int,
  isInt,
  layoutKey,
  product,
  resolve,
  settle,
  sizeKey,
  sum,
  terms,
  unboundVar,
  variable,
} from '../../ir/dim.ts'
import type { DType } from '../../ir/dtype.ts'
import type { Node } from '../../ir/node.ts'
import { type Contents, type Disagreement, type Fact, type Facts, listOf } from '../facts.ts'

/** What a shape rule sees of its node, and how it says what it found. */
export class Context {
  readonly node: Node
  readonly facts: Facts
  readonly opset: number

  constructor(node: Node, facts: Facts, opset: number) {
    this.node = node
    this.facts = facts
    this.opset = opset
  }

  fact(slot: number): Fact | undefined {
    return this.facts.get(this.node.input(slot))
  }

  dims(slot: number): readonly Dim[] | null {
    return this.facts.dims(this.node.input(slot))
  }

  dtype(slot: number): DType | undefined {
    return this.fact(slot)?.dtype
  }

  contents(slot: number): Contents | null {
    return this.fact(slot)?.contents ?? null
  }

  /** The elements of an input, resolved, when they are followed. */
  list(slot: number): readonly Dim[] | null {
    const contents = this.contents(slot)
    return contents === null ? null : listOf(contents).map(resolve)
  }

  /** The elements of an input as numbers of this trace. */
  numbers(slot: number): number[] | null {
    return this.list(slot)?.map((dim) => dim.n) ?? null
  }

  set(slot: number, dims: readonly Dim[] | null, dtype?: DType, contents: Contents | null = null): void {
    const value = this.node.output(slot)
    if (value !== null) this.facts.set(value, { dims, dtype, contents })
  }

  /** A number that the file holds in an input and that may spell out a traced size. */
  baked(slot: number, index: number, n: number): Dim {
    const dim = variable(n)
    this.facts.baked.push({ node: this.node, slot, index, dim })
    return dim
  }

  disagree(kind: Disagreement['kind'], left: Dim, right: Dim, note: string, slot?: number, axis?: number): void {
    this.facts.disagreements.push({ kind, node: this.node, left, right, note, slot, axis })
  }

  /** One axis out of two that must be equal. Binds variables; notes what does not agree. */
  unify(a: Dim, b: Dim, note: string, slots: readonly [number, number] = [0, 1], axis?: number): Dim {
    const left = resolve(a)
    const right = resolve(b)
    if (left === right) return left
    if (layoutKey(left) === layoutKey(right)) {
      const cell = unboundVar(left) ?? unboundVar(right)
      // Two spellings of one number: what one of them meets later binds both.
      if (cell !== null && unboundVar(left) !== null && unboundVar(right) !== null && unboundVar(right) !== cell) {
        cell.bound = right
        return right
      }
      return unboundVar(left) !== null ? left : right
    }
    if (left.n !== right.n) {
      this.disagree('impossible', left, right, note, undefined, axis)
      return isInt(left) ? right : left
    }
    for (const [one, other] of [
      [left, right],
      [right, left],
    ] as const) {
      const cell = unboundVar(one)
      if (cell !== null) {
        cell.bound = other
        return other
      }
    }
    if (isInt(left) && isInt(right) && [left, right].every(hasNoUnitVar)) {
      // Equal numbers, one of them made of others (heads repeated, halves joined): no size is meant by either.
      for (const dim of [left, right]) settle(dim)
      return resolve(left)
    }
    const parts = matchParts(left, right)
    if (parts !== null) {
      const kind = left.atoms[0]?.kind === 'sum' ? sum : product
      return kind(...parts.map(([x, y]) => this.unify(x, y, note, slots, axis)))
    }
    // Two numbers, at least one of them in factors that may turn out to be more than a number.
    if (isInt(left) && isInt(right)) return isPlain(left) ? right : left
    if (isInt(left) || isInt(right)) {
      this.disagree('baked', left, right, note, isInt(left) ? slots[0] : slots[1], axis)
      return isInt(left) ? right : left
    }
    if (sizeKey(left) !== sizeKey(right)) this.disagree('differs', left, right, note, undefined, axis)
    return left
  }

  /** NumPy broadcasting of any number of shapes; null where one is unknown. */
  broadcast(shapes: readonly (readonly Dim[] | null)[]): readonly Dim[] | null {
    let result: readonly Dim[] = []
    let from = 0
    for (const [slot, shape] of shapes.entries()) {
      if (shape === null) return null
      const rank = Math.max(result.length, shape.length)
      const left = result
      const origin = from
      result = Array.from({ length: rank }, (_, axis) => {
        const a = left[axis - rank + left.length]
        const b = shape[axis - rank + shape.length]
        if (a === undefined || b === undefined) return a ?? b ?? int(1)
        return this.broadcastDim(a, b, [origin, slot], axis)
      })
      if (shape.length > 0 && slot === 0) from = slot
    }
    return result
  }

  private broadcastDim(a: Dim, b: Dim, slots: readonly [number, number], axis: number): Dim {
    const left = resolve(a)
    const right = resolve(b)
    if (left.n === right.n) {
      if (left.n !== 1) return this.unify(left, right, 'broadcast', slots, axis)
      // A literal 1 broadcasts against a batch that happens to be 1 in this trace; nothing has to be bound.
      return isInt(left) ? right : left
    }
    if (left.n === 1) return right
    if (right.n === 1) return left
    return this.unify(left, right, 'broadcast', slots, axis)
  }
}

/** False where a number of the file is 1 among others: it may be the batch, and hides in their product. */
function hasNoUnitVar(dim: Dim): boolean {
  return dim.atoms.every((atom) => atom.kind !== 'var' || atom.n !== 1)
}

/** True for a number in which no variable is left. */
function isPlain(dim: Dim): boolean {
  return dim.atoms.every((atom) => atom.kind === 'int')
}

/** The parts of two sums or products of equal make-up, in pairs; null where they do not correspond one to one. */
function matchParts(left: Dim, right: Dim): [Dim, Dim][] | null {
  const split = (dim: Dim): readonly Dim[] => {
    const parts = terms(dim)
    return parts.length > 1 ? parts : dim.atoms.map((atom) => ({ atoms: [atom], n: atom.n }))
  }
  const [a, b] = [split(left), split(right)]
  if (a.length < 2 || a.length !== b.length || terms(left).length !== terms(right).length) return null
  const pairs = a.flatMap((x, i): [Dim, Dim][] => (b[i]?.n === x.n ? [[x, b[i]]] : []))
  return pairs.length === a.length ? pairs : null
}

export type ShapeRule = (context: Context) => void

export function normalAxis(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis
}

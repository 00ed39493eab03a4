import { type Dim, isSettled, resolve } from '../ir/dim.ts'
import type { DType } from '../ir/dtype.ts'
import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'

/** The elements of a small tensor, in row-major order; `fill` where all are one value, however many. */
export type Contents =
  | { readonly kind: 'list'; readonly items: readonly Dim[] }
  | { readonly kind: 'fill'; readonly value: Dim; readonly count: number }

/** What is known of a value. */
export interface Fact {
  readonly dtype: DType | undefined
  /** Null where not even the rank is known. */
  readonly dims: readonly Dim[] | null
  /** Null where the elements depend on pixels or weights, or are too many to follow. */
  readonly contents: Contents | null
}

/** The longest list of differing elements that is followed. */
export const CONTENTS_LIMIT = 16384

export function countOf(contents: Contents): number {
  return contents.kind === 'fill' ? contents.count : contents.items.length
}

export function itemAt(contents: Contents, index: number): Dim {
  const item = contents.kind === 'fill' ? contents.value : contents.items[index]
  if (item === undefined) throw new RangeError(`element ${index} of ${countOf(contents)}`)
  return item
}

export function listOf(contents: Contents): readonly Dim[] {
  if (contents.kind === 'list') return contents.items
  return Array.from({ length: contents.count }, () => contents.value)
}

/** A list, kept as a fill where every element is the same size. Null where it is too long to follow. */
export function contentsOf(items: readonly Dim[]): Contents | null {
  const [first] = items
  if (first !== undefined && items.length > 1 && items.every((item) => item === first || sameConstant(item, first))) {
    return { kind: 'fill', value: first, count: items.length }
  }
  return items.length > CONTENTS_LIMIT ? null : { kind: 'list', items }
}

function sameConstant(a: Dim, b: Dim): boolean {
  if (a.n !== b.n || a.atoms.length !== b.atoms.length) return false
  return a.atoms.every((atom, i) => atom.kind === 'int' && b.atoms[i]?.kind === 'int')
}

/** A number in the file that spells out a size at which the model was traced. */
export interface BakedNumber {
  readonly node: Node
  /** Which input of the node holds it, and where in that input. */
  readonly slot: number
  readonly index: number
  readonly dim: Dim
}

/**
 * Two axes that must agree and do not in every trace.
 * - `baked`: a constant meets a symbolic size that it equals in this trace: it is right at one size only.
 * - `differs`: two symbolic sizes agree in this trace, but are not the same size.
 * - `impossible`: they do not even agree in this trace: the trace's sizes are not the model's.
 */
export interface Disagreement {
  readonly kind: 'baked' | 'differs' | 'impossible'
  readonly node: Node
  readonly left: Dim
  readonly right: Dim
  /** The input slot that holds the constant, for `baked`. */
  readonly slot: number | undefined
  /** The axis, counted in the node's output. */
  readonly axis: number | undefined
  readonly note: string
}

/** For Reshapes of a batch of one image, the `placementKey` of the layout that their results are to have. */
export type Placed = ReadonlyMap<Node, string>

/** The result of symbolic inference: one trace of the graph at given sizes, with every size named. */
export class Facts {
  readonly baked: BakedNumber[] = []
  readonly disagreements: Disagreement[] = []
  /** Where a batch of one image may stand in what a Reshape makes, for each that leaves a choice; the chosen layout is its output's. */
  readonly placements = new Map<Node, readonly (readonly Dim[])[]>()
  readonly placed: Placed
  /** Reshapes that split a size in the middle, so that what its parts are is not known. */
  readonly split: Node[] = []
  /** The graph that was inferred. */
  readonly graph: Graph
  private readonly facts = new Map<Value, Fact>()

  constructor(graph: Graph, placed: Placed = new Map()) {
    this.graph = graph
    this.placed = placed
  }

  get(value: Value | null): Fact | undefined {
    return value === null ? undefined : this.facts.get(value)
  }

  set(value: Value, fact: Fact): void {
    this.facts.set(value, fact)
  }

  /** The value's axes with every binding resolved; null where unknown. */
  dims(value: Value | null): readonly Dim[] | null {
    const dims = this.get(value)?.dims ?? null
    return dims === null || dims.every(isSettled) ? dims : dims.map(resolve)
  }

  dtype(value: Value | null): DType | undefined {
    return this.get(value)?.dtype
  }

  contents(value: Value | null): Contents | null {
    return this.get(value)?.contents ?? null
  }

  /** The elements as plain numbers, where every one is a constant of the file. */
  constants(value: Value | null): number[] | null {
    const contents = this.contents(value)
    if (contents === null || countOf(contents) > CONTENTS_LIMIT) return null
    const items = listOf(contents)
    return items.every((item) => item.atoms.every((atom) => atom.kind === 'int')) ? items.map((item) => item.n) : null
  }

  disagreementsAt(node: Node): readonly Disagreement[] {
    return this.disagreements.filter((found) => found.node === node)
  }

  get impossible(): readonly Disagreement[] {
    return this.disagreements.filter((found) => found.kind === 'impossible')
  }
}

/** The one number that a constant holds, whatever its shape; null for anything else. */
export function singleNumber(value: Value | null, facts: Facts): number | null {
  const contents = facts.contents(value)
  if (contents === null || (contents.kind === 'list' && contents.items.length > 1)) return null
  const first = contents.kind === 'fill' ? contents.value : contents.items[0]
  return first?.atoms.every((atom) => atom.kind === 'int') ? first.n : null
}

/** The branch that an If takes at every size; null where its condition depends on a size or on contents. */
export function decidedBranch(node: Node, facts: Facts): Graph | null {
  const condition = singleNumber(node.input(0), facts)
  if (!node.is('If') || condition === null) return null
  const branch = node.attributes.get(condition !== 0 ? 'then_branch' : 'else_branch')
  return branch?.type === 'graph' ? branch.value : null
}

import { reshapeTarget } from '../analysis/reshape-target.ts'
import { boundaryAt, elementsOutsideBatch } from '../analysis/shapes/reshape.ts'
import { type Atom, type Dim, product, sym } from '../ir/dim.ts'
import type { Node } from '../ir/node.ts'
import type { Builder } from '../ops/builder.ts'
import type { SizeEmitter } from './sizes.ts'

/** A Reshape that moves a batch of one image past other axes, written so that it does so for any batch. */
export interface BatchMove {
  /** Axes to split the data into, the batch one of them. */
  readonly apart: readonly Dim[]
  readonly perm: readonly number[]
  /** Axes of the result. */
  readonly to: readonly Dim[]
}

/**
 * How a Reshape has to be written so that the batch gets to where its result is taken to have it: a Reshape in reading order that sets the
 * batch apart, a Transpose, and a Reshape where the batch is merged with another axis. Null where the batch stays where it is in
 * reading order.
 */
export function batchMove(from: readonly Dim[], to: readonly Dim[]): BatchMove | null {
  const outside = elementsOutsideBatch(from)
  const wanted = elementsOutsideBatch(to)
  if (outside === null || wanted === null || outside === wanted) return null
  const axis = to.findIndex((dim) => dim.atoms.some(isBatch))
  const target = to[axis]
  const batch = target?.atoms.find(isBatch)
  if (target === undefined || batch === undefined) return null
  const rest = product(...target.atoms.filter((atom) => atom !== batch).map((atom) => ({ atoms: [atom], n: atom.n })))
  const merged = target.atoms.length > 1
  const others = [...to.slice(0, axis), ...(merged ? [rest] : []), ...to.slice(axis + 1)]
  const at = boundaryAt(others, outside)
  if (at === null || (merged && target.atoms[0] !== batch)) return null
  const apart = [...others.slice(0, at), sym('batch', batch.n), ...others.slice(at)]
  const perm = others.map((_, i) => (i < at ? i : i + 1))
  perm.splice(axis, 0, at)
  return { apart, perm, to }
}

/** True where the graph can compute what the move needs. */
export function canMoveBatch({ apart, to }: BatchMove, from: readonly Dim[], sizes: SizeEmitter): boolean {
  return [...reshapeTarget(from, apart), ...reshapeTarget(apart, to)].every(
    (entry) => typeof entry === 'number' || sizes.canEmit(entry),
  )
}

/** Writes the move in front of what a Reshape does, and its own target. */
export function moveBatch(
  node: Node,
  move: BatchMove,
  from: readonly Dim[],
  builder: Builder,
  sizes: SizeEmitter,
): void {
  const { apart, perm, to } = move
  const data = node.input(0)
  if (data === null) return
  const split = builder.reshape(data, sizes.vector(reshapeTarget(from, apart)))
  node.setInput(0, builder.transpose(split, { perm }))
  const turned = perm.map((axis) => apart[axis] as Dim)
  node.setInput(1, sizes.vector(reshapeTarget(turned, to)))
}

function isBatch(atom: Atom): boolean {
  return atom.kind === 'sym' && atom.id === 'batch'
}

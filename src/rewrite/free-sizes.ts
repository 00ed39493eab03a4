import { dependents } from '../analysis/dependence.ts'
import { dimSummary, shapeSummary } from '../analysis/describe.ts'
import { evaluate } from '../analysis/evaluate.ts'
import type { BakedNumber, Disagreement } from '../analysis/facts.ts'
import { isConstantTarget, reshapeTarget } from '../analysis/reshape-target.ts'
import { normalAxis } from '../analysis/shapes/context.ts'
import { POINTWISE } from '../analysis/token-sites.ts'
import type { Trace } from '../analysis/trace.ts'
import { type Dim, int, isInt, resolve, sym } from '../ir/dim.ts'
import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import type { Builder } from '../ops/builder.ts'
import { batchMove, canMoveBatch, moveBatch } from './move-batch.ts'
import type { SizeEmitter, SizeEntry } from './sizes.ts'

/** An edit that frees one baked size. */
export interface Freeing {
  readonly kind: 'reshape' | 'split' | 'slice' | 'shape' | 'range' | 'repeated constant' | 'moved batch'
  readonly node: Node
  apply(builder: Builder, sizes: SizeEmitter): void
}

/** A place at which a size stays baked in. */
export interface Baked {
  readonly node: Node
  readonly reason: string
}

export interface FreeingPlan {
  readonly edits: readonly Freeing[]
  /** Sizes in the tokens' way that cannot be freed. */
  readonly stuck: readonly Baked[]
  /** Constants that hold something for each token, such as position tables: `posenc` replaces them. */
  readonly tables: readonly Disagreement[]
}

/**
 * Finds every place where the graph holds a size of the trace as a number, and how to compute it instead.
 *
 * Targets of Reshape are rebuilt from the data's own axes: neither the constant nor the graph's own computation is trusted. Shape
 * constants of Expand, Tile, ConstantOfShape, Range and Resize have been bound by what they met. A constant that repeats one slice
 * over a baked batch keeps one slice and is expanded.
 */
export function planFreeing(graph: Graph, trace: Trace, sizes: SizeEmitter): FreeingPlan {
  const live = dependents(graph, ...trace.inputs)
  const isLive = (node: Node) => node.outputs.some((value) => value !== null && live.has(value))
  const edits: Freeing[] = []
  const stuck: Baked[] = []
  const add = (edit: Freeing | Baked | null) => {
    if (edit === null) return
    if ('apply' in edit) edits.push(edit)
    else if (isLive(edit.node)) stuck.push(edit)
  }
  for (const node of graph.nodes) {
    if (node.is('Reshape')) add(freeReshape(node, trace, sizes))
    if (node.is('Split')) add(freeSplit(node, trace, sizes))
    if (node.is('Slice')) add(freeSlice(node, trace))
  }
  for (const numbers of bySlot(trace.facts.baked).values()) add(freeShape(numbers, trace, sizes))
  const tables: Disagreement[] = []
  const seen = new Set<string>()
  for (const found of trace.facts.disagreements) {
    const key = `${found.node.label} ${found.slot} ${found.axis}`
    if (found.kind !== 'baked' || seen.has(key)) continue
    seen.add(key)
    if (isRepeatedBatch(isInt(found.left) ? found.right : found.left)) add(freeRepeated(found, live, trace))
    else if (isLive(found.node)) tables.push(found)
  }
  return { edits, stuck, tables }
}

function freeReshape(node: Node, { facts }: Trace, sizes: SizeEmitter): Freeing | Baked | null {
  const from = facts.dims(node.input(0))
  const to = facts.dims(node.output(0))
  if (from === null || to === null || to.some((dim) => dim.n === 0)) return null
  const move = batchMove(from, to)
  if (move !== null) {
    if (!canMoveBatch(move, from, sizes)) {
      return { node, reason: `Reshape from ${shapeSummary(from)} to ${shapeSummary(to)} moves the batch of one image` }
    }
    return {
      kind: 'moved batch',
      node,
      apply(builder, emitter) {
        moveBatch(node, move, from, builder, emitter)
        if (node.attributes.has('allowzero')) node.deleteAttribute('allowzero')
      },
    }
  }
  const target = reshapeTarget(from, to)
  const stored = facts.constants(node.input(1))
  const same = isConstantTarget(target) && stored?.length === target.length && stored.every((n, i) => n === target[i])
  if (same && node.int('allowzero', 0) === 0) return null
  const open = target.filter((entry): entry is Dim => typeof entry !== 'number')
  if (!open.every((dim) => sizes.canEmit(dim))) {
    // The graph's own computation is all there is; a constant is right at one size only.
    return stored === null
      ? null
      : { node, reason: `Reshape to ${shapeSummary(to)} has a size that cannot be computed` }
  }
  return {
    kind: 'reshape',
    node,
    apply(_builder, emitter) {
      node.setInput(1, emitter.vector(target))
      if (node.attributes.has('allowzero')) node.deleteAttribute('allowzero')
    },
  }
}

/** Lengths of the parts of a Split that follow the image's size or the batch. */
function freeSplit(node: Node, { facts, opset }: Trace, sizes: SizeEmitter): Freeing | Baked | null {
  const from = facts.dims(node.input(0))
  const given = node.ints('split') ?? facts.constants(node.input(1))
  if (from === null || given === null || given === undefined) return null
  const axis = normalAxis(node.int('axis', 0), from.length)
  const parts = node.outputs.map((value) => facts.dims(value)?.[axis] ?? int(1))
  if (parts.every(isInt)) return null
  if (opset < 13 || !parts.every((dim) => isInt(dim) || sizes.canEmit(dim))) {
    return { node, reason: `Split into ${shapeSummary(parts)} has lengths that fit one size` }
  }
  return { kind: 'split', node, apply: (_builder, emitter) => node.setInput(1, emitter.vector(parts)) }
}

/** A Slice that ends where an axis of the traced size ends, by its number. */
function freeSlice(node: Node, { facts, opset }: Trace): Freeing | null {
  const from = facts.dims(node.input(0))
  const [ends, steps] = [facts.constants(node.input(2)), facts.constants(node.input(4))]
  const axes = facts.constants(node.input(3)) ?? ends?.map((_, i) => i)
  if (from === null || ends === null || axes === undefined || opset < 10) return null
  const open = ends.map((end, i) => {
    const dim = from[normalAxis(axes[i] ?? 0, from.length)]
    return dim !== undefined && !isInt(dim) && end === dim.n && (steps?.[i] ?? 1) > 0
  })
  if (!open.includes(true)) return null
  const freed = ends.map((end, i) => (open[i] === true ? Number.MAX_SAFE_INTEGER : end))
  return { kind: 'slice', node, apply: (builder) => node.setInput(2, builder.int64(freed)) }
}

function bySlot(baked: readonly BakedNumber[]): Map<string, BakedNumber[]> {
  const groups = new Map<string, BakedNumber[]>()
  for (const number of baked) {
    if (isInt(resolve(number.dim))) continue
    const key = `${number.node.outputs.find((value) => value !== null)?.name} ${number.slot}`
    groups.set(key, [...(groups.get(key) ?? []), number])
  }
  return groups
}

function freeShape(numbers: readonly BakedNumber[], { facts }: Trace, sizes: SizeEmitter): Freeing | Baked | null {
  const [first] = numbers
  if (first === undefined) return null
  const { node, slot } = first
  const stay = (): Baked => ({
    node,
    reason: `${node.opType} holds a size that cannot be computed: ${shapeSummary(numbers.map(({ dim }) => dim))}`,
  })
  if (!numbers.every(({ dim }) => sizes.canEmit(dim))) return stay()
  if (node.is('Range')) {
    const limit = node.input(slot)
    const dtype = facts.dtype(limit)
    if (dtype === undefined) return stay()
    return {
      kind: 'range',
      node,
      apply(builder, emitter) {
        const length = builder.squeeze(emitter.emit(first.dim), { axes: [0] })
        node.setInput(slot, dtype === 'int64' ? length : builder.cast(length, { to: dtype }))
      },
    }
  }
  const contents = facts.contents(node.input(slot))
  const isScales = node.is('Resize', 'Upsample') && slot !== 3
  if (contents === null || isScales) return stay()
  const count = contents.kind === 'fill' ? contents.count : contents.items.length
  const entries: SizeEntry[] = Array.from({ length: count }, (_, i) => {
    const freed = numbers.find((number) => number.index === i)
    const item = contents.kind === 'fill' ? contents.value : (contents.items[i] ?? int(1))
    return freed === undefined ? resolve(item) : resolve(freed.dim)
  })
  if (!entries.every((entry) => typeof entry === 'number' || isInt(entry) || sizes.canEmit(entry))) return stay()
  return { kind: 'shape', node, apply: (_builder, emitter) => node.setInput(slot, emitter.vector(entries)) }
}

/** The batch, with nothing but numbers inside it: an axis of [batch * heads], say. */
function isRepeatedBatch(dim: Dim): boolean {
  const [first, ...rest] = resolve(dim).atoms
  return first?.kind === 'sym' && first.id === 'batch' && rest.every((atom) => isInt({ atoms: [atom], n: atom.n }))
}

/** A constant that holds the same block for each image of the traced batch. */
function freeRepeated(found: Disagreement, live: ReadonlySet<Value>, { facts, sizes }: Trace): Freeing | Baked | null {
  const { node, slot, axis } = found
  const value = slot === undefined ? null : node.input(slot)
  const dims = facts.dims(value)
  const out = facts.dims(node.output(0))
  const [symbolic, number] = isInt(found.left) ? [found.right, found.left] : [found.left, found.right]
  const stay = (why: string): Baked => ({ node, reason: `a constant is made for a batch of ${sizes.batch}: ${why}` })
  if (value === null || slot === undefined || axis === undefined || dims === null || out === null) {
    return { node, reason: `${found.note} of ${dimSummary(symbolic)} with ${dimSummary(number)}` }
  }
  if (live.has(value)) return { node, reason: `${found.note} of ${dimSummary(symbolic)} with ${dimSummary(number)}` }
  const own = node.is('Concat') ? axis : axis - out.length + dims.length
  if (own < 0) return stay('its axis is not known')
  const length = dims[own]?.n ?? 1
  const block = length / sizes.batch
  if (sizes.batch > 1 && !hasEqualBlocks(value, own, block, facts)) return stay('its slices differ')
  return {
    kind: 'repeated constant',
    node,
    apply(builder, emitter) {
      const one = sizes.batch > 1 ? builder.slice(value, { starts: [0], ends: [block], axes: [own] }) : value
      // Elementwise operators and products broadcast a single slice; anything else needs it repeated.
      const broadcasts = block === 1 && (node.is('MatMul') || POINTWISE.has(node.operator))
      const repeats = dims.map((_, i): SizeEntry => (i === own ? sym('batch', sizes.batch) : 1))
      node.setInput(slot, broadcasts ? one : builder.tile(one, emitter.vector(repeats)))
    },
  }
}

/** True where an axis holds one block over and over. */
function hasEqualBlocks(value: Value, axis: number, block: number, facts: Trace['facts']): boolean {
  const { dims, data } = evaluate(value, facts)
  const inner = dims.slice(axis + 1).reduce((n, dim) => n * dim, block)
  const length = ((dims[axis] ?? 1) / block) * inner
  return data.every((x, i) => x === data[i - (i % length) + (i % inner)])
}

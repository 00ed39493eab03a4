import { shapeSummary } from '../analysis/describe.ts'
import type { Facts } from '../analysis/facts.ts'
import { learn, tensorFact } from '../analysis/infer.ts'
import { placementKey } from '../analysis/shapes/reshape.ts'
import { VitpassError } from '../errors.ts'
import { type Dim, layoutKey } from '../ir/dim.ts'
import { isFloat } from '../ir/dtype.ts'
import { tidy } from '../ir/edit.ts'
import type { Graph } from '../ir/graph.ts'
import type { Model } from '../ir/model.ts'
import type { Node } from '../ir/node.ts'
import { elementCount, type Tensor } from '../ir/tensor.ts'
import { rawBytes, readFloats } from '../ir/tensor-data.ts'
import type { Value } from '../ir/value.ts'
import { Builder } from '../ops/builder.ts'

/** What a rule may look at. */
export interface RuleContext {
  readonly graph: Graph
  readonly opset: number
  readonly facts: Facts
}

/** A change that a rule proposes: read `next` where `old` was read. */
export interface Patch {
  readonly old: Value
  readonly next: Value | ((builder: Builder) => Value)
}

/** A local rewrite. It looks at one node and what stands around it, and gives a patch or nothing; it never edits. */
export interface Rule {
  /** A noun for what it rewrites, as reports count them: `no-op`. */
  readonly name: string
  match(node: Node, context: RuleContext): Patch | null
}

/** Sweeps at most; every rule makes the graph smaller or simpler, so a handful is enough. */
const SWEEPS = 12

/**
 * Applies rules until none matches. Facts are inferred anew for every sweep, and every replacement is checked: the new
 * value has the dtype and the axes of the old one.
 *
 * @param analyse gives the context of the graph as it stands
 * @returns how often each rule was applied
 */
export function applyRules(model: Model, rules: readonly Rule[], analyse: () => RuleContext): Record<string, number> {
  const counts: Record<string, number> = {}
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const context = analyse()
    const builder = new Builder(model.graph, model.opset, { dtypeOf: (value) => context.facts.dtype(value) })
    let changed = 0
    for (const node of [...model.graph.nodes]) {
      if (node.graph === null) continue
      const found = firstMatch(node, rules, context)
      if (found === null) continue
      applyPatch(found.patch, found.rule.name, context, builder)
      counts[found.rule.name] = (counts[found.rule.name] ?? 0) + 1
      changed += 1
    }
    if (changed === 0) break
    tidy(model.graph)
  }
  return counts
}

function firstMatch(node: Node, rules: readonly Rule[], context: RuleContext): { rule: Rule; patch: Patch } | null {
  for (const rule of rules) {
    const patch = rule.match(node, context)
    if (patch !== null && patch.next !== patch.old) return { rule, patch }
  }
  return null
}

function applyPatch(patch: Patch, rule: string, context: RuleContext, builder: Builder): void {
  const { graph, facts, opset } = context
  const { old } = patch
  const readers = new Set(old.users)
  const from = graph.nodes.length
  const next = typeof patch.next === 'function' ? patch.next(builder) : patch.next
  learn(graph.nodes.slice(from), facts, opset)
  if (next.tensor !== null && facts.get(next) === undefined) facts.set(next, tensorFact(next.tensor))
  keepPlacement(old, next, facts)
  const before = facts.get(old)
  const after = facts.get(next)
  const dims = [facts.dims(old), facts.dims(next)] as const
  const sameDims =
    dims[0] === null || dims[1] === null || dims[0].map(layoutKey).join() === dims[1].map(layoutKey).join()
  const sameType = before?.dtype === undefined || after?.dtype === undefined || before.dtype === after.dtype
  if (!sameDims || !sameType) {
    const told = (dtype: string | undefined, shape: (typeof dims)[0]) => `${dtype ?? '?'}${shapeSummary(shape)}`
    throw new VitpassError(
      'PASS_BROKE_GRAPH',
      `rule ${rule} would put ${told(after?.dtype, dims[1])} in place of ${told(before?.dtype, dims[0])}`,
      old.producer === null ? {} : { node: old.producer.label },
    )
  }
  // What the replacement itself reads of the old value stays as it is.
  const own = new Set(graph.nodes.slice(from).filter((node) => !readers.has(node)))
  graph.replaceUses(old, next, own)
}

/** A new Reshape has a batch of one image where the value that it replaces had it, as far as it can. */
function keepPlacement(old: Value, next: Value, facts: Facts): void {
  const [dims, fact] = [facts.dims(old), facts.get(next)]
  const layouts = next.producer === null ? undefined : facts.placements.get(next.producer)
  if (dims === null || fact === undefined || layouts === undefined) return
  const same = layouts.find((layout) => placementKey(layout) === placementKey(dims))
  if (same !== undefined) facts.set(next, { ...fact, dims: same })
}

/** True where every element is a number, whatever the image's size, and `wanted`. */
export function isEverywhere(value: Value | null, wanted: (n: number) => boolean, { facts }: RuleContext): boolean {
  const contents = facts.contents(value)
  if (contents === null) return value?.tensor != null && isConstantEverywhere(value.tensor, wanted)
  const holds = (item: Dim) => item.atoms.every((atom) => atom.kind === 'int') && wanted(item.n)
  return contents.kind === 'fill' ? holds(contents.value) : contents.items.every(holds)
}

/** Elements of a stored mask at most: 2048 by 2048 tokens. */
const MASK_LIMIT = 1 << 22

/** The same of a stored table that is too long for symbolic inference to follow: a mask folded at export. */
function isConstantEverywhere(tensor: Tensor, wanted: (n: number) => boolean): boolean {
  if (elementCount(tensor.dims) > MASK_LIMIT) return false
  if (tensor.storage.kind === 'external' && tensor.storage.source === null) return false
  if (tensor.dtype === 'bool') return rawBytes(tensor).every((n) => wanted(n))
  return isFloat(tensor.dtype) && readFloats(tensor).every((n) => wanted(n))
}

import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import type { Facts } from './facts.ts'
import { dependsOnSize } from './grid.ts'

/** Operators that look at a tensor's shape and not at its elements. */
const SHAPE_ONLY = new Set(['Shape', 'Size'])

/**
 * Every value whose elements depend on the elements of a source. What depends on its shape alone (position ids, masks
 * made by Range, interpolated tables) is not among them.
 */
export function dependents(graph: Graph, ...sources: readonly Value[]): Set<Value> {
  const found = new Set<Value>(sources)
  for (const node of graph.nodes) {
    if (node.domain === '' && SHAPE_ONLY.has(node.opType)) continue
    // CastLike takes the type of its second operand, and nothing of its elements.
    const elements = node.is('CastLike')
      ? node.inputs.slice(0, 1).some((value) => value !== null && found.has(value))
      : reads(node, found)
    if (!elements) continue
    for (const value of node.outputs) if (value !== null) found.add(value)
  }
  return found
}

/**
 * Every value that is computed from the image's height or width: through Shape, and whatever follows, as long as symbolic inference
 * does not find a plain number there.
 */
export function sizeDerived(graph: Graph, facts: Facts): Set<Value> {
  const found = new Set<Value>()
  for (const node of graph.nodes) {
    const inherits = node.inputs.some((value, slot) => value !== null && found.has(value) && !isShapeSlot(node, slot))
    for (const output of node.outputs) {
      if (output === null) continue
      const contents = facts.contents(output)
      const items = contents === null ? null : contents.kind === 'fill' ? [contents.value] : contents.items
      const sized = items === null ? inherits : items.some(dependsOnSize)
      if (sized || (items === null && node.is('Shape', 'Size'))) found.add(output)
    }
  }
  return found
}

/** Input slots that say how a result is shaped or what is taken, and take no part in its numbers. */
const SHAPE_SLOTS: Readonly<Record<string, readonly number[]>> = {
  Reshape: [1],
  Expand: [1],
  Tile: [1],
  ConstantOfShape: [0],
  Slice: [1, 2, 3, 4],
  Split: [1],
  Pad: [1, 3],
  Squeeze: [1],
  Unsqueeze: [1],
}

/** True for an input that says how the result is shaped, and takes no part in its numbers. */
export function isShapeSlot(node: Node, slot: number): boolean {
  return (
    node.domain === '' && (SHAPE_SLOTS[node.opType]?.includes(slot) ?? (node.opType.startsWith('Reduce') && slot === 1))
  )
}

function reads(node: Node, values: ReadonlySet<Value>): boolean {
  if (node.inputs.some((value) => value !== null && values.has(value))) return true
  return node.subgraphs.some((graph) => [...graph.walk()].some((inner) => reads(inner, values)))
}

/** The nodes that make a value, in graph order, back to constants, inputs, and values that `stop` accepts. */
export function slice(graph: Graph, value: Value, stop: (value: Value) => boolean = () => false): Node[] {
  const wanted = new Set<Node>()
  const pending = [value]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { producer } = next
    if (producer === null || wanted.has(producer) || stop(next)) continue
    wanted.add(producer)
    for (const input of producer.inputs) if (input !== null) pending.push(input)
  }
  return graph.nodes.filter((node) => wanted.has(node))
}

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
    if (!reads(node, found)) continue
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
    const inherits = node.inputs.some((value) => value !== null && found.has(value))
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

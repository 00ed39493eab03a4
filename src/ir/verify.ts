import { VitpassError } from '../errors.ts'
import type { Graph } from './graph.ts'
import type { Model } from './model.ts'
import { isSameConstant } from './shadow.ts'
import type { Value } from './value.ts'

/**
 * Checks what every transformation must keep: each value has one maker and one name and is made before it is read. In a subgraph a
 * constant may have the name of an equal one around it, as some files have it.
 * @throws VitpassError PASS_BROKE_GRAPH naming the node and the value
 */
export function verify(model: Model): void {
  verifyGraph(model.graph, new Set(), new Map())
}

function verifyGraph(graph: Graph, outer: ReadonlySet<Value>, names: Map<string, Value>): void {
  const known = new Set(outer)
  const define = (value: Value, node?: string): void => {
    const holder = names.get(value.name)
    const hides = holder !== undefined && outer.has(holder) && isSameConstant(value, holder)
    if (holder !== undefined && holder !== value && !hides) {
      throw new VitpassError(
        'PASS_BROKE_GRAPH',
        `two values are named ${value.name}`,
        node === undefined ? {} : { node },
      )
    }
    names.set(value.name, value)
    known.add(value)
  }
  for (const value of graph.inputs) define(value)
  for (const value of graph.initializers) define(value)
  for (const value of graph.sparseInitializers) define(value)
  for (const node of graph.nodes) {
    if (node.graph !== graph)
      throw new VitpassError('PASS_BROKE_GRAPH', 'a node stands in two graphs', { node: node.label })
    for (const value of node.inputs) {
      if (value !== null && !known.has(value)) {
        throw new VitpassError('PASS_BROKE_GRAPH', `${value.name} is read before it is made`, { node: node.label })
      }
    }
    for (const subgraph of node.subgraphs) verifyGraph(subgraph, known, new Map(names))
    for (const value of node.outputs) {
      if (value === null) continue
      if (value.producer !== node) {
        throw new VitpassError('PASS_BROKE_GRAPH', `${value.name} has another maker`, { node: node.label })
      }
      define(value, node.label)
    }
  }
  for (const value of graph.outputs) {
    if (!known.has(value)) throw new VitpassError('PASS_BROKE_GRAPH', `output ${value.name} is not made by any node`)
  }
}

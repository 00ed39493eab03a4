import { decidedBranch as takenBranch } from '../../analysis/facts.ts'
import { cloneNode } from '../../ir/clone.ts'
import type { Graph } from '../../ir/graph.ts'
import type { Value } from '../../ir/value.ts'
import type { Rule } from '../engine.ts'

/**
 * An If whose condition is the same at every size becomes the branch that it takes. Exporters write one where an operator treats
 * tensors of few axes and of many differently, though the number of axes is known.
 */
export const decidedBranch: Rule = {
  name: 'decided branch',
  match(node, { facts, graph }) {
    const old = node.output(0)
    if (!node.is('If') || old === null || node.outputs.length !== 1 || node.graph !== graph) return null
    const body = takenBranch(node, facts)
    if (body === null || body.sparseInitializers.length > 0) return null
    return { old, next: () => spliceIn(body, graph) }
  },
}

/** Copies the nodes of a branch to the end of a graph around it; the result is what stands for the branch's output. */
function spliceIn(body: Graph, graph: Graph): Value {
  const values = new Map<Value, Value>()
  for (const outer of readFromOutside(body)) values.set(outer, outer)
  for (const value of body.initializers) {
    if (value.tensor !== null) values.set(value, graph.addInitializer(value.name, value.tensor))
  }
  const cloned = (value: Value): Value => {
    const known = values.get(value)
    if (known !== undefined) return known
    const made = graph.newValue(value.name)
    values.set(value, made)
    return made
  }
  for (const inner of body.nodes) {
    const copy = cloneNode(inner, graph, values, cloned)
    copy.name = graph.freshName(inner.label)
    graph.addNode(copy)
  }
  const [output] = body.outputs
  return cloned(output as Value) // an If has as many outputs as its branches
}

/** Values that a branch, and what is nested in it, reads of the graphs around it. */
function readFromOutside(body: Graph): Set<Value> {
  const graphs = [body]
  const own = new Set<Value>()
  const read = new Set<Value>()
  for (let graph = graphs.pop(); graph !== undefined; graph = graphs.pop()) {
    for (const value of [...graph.inputs, ...graph.initializers, ...graph.sparseInitializers]) own.add(value)
    for (const node of graph.nodes) {
      for (const value of node.outputs) if (value !== null) own.add(value)
      for (const value of node.inputs) if (value !== null) read.add(value)
      graphs.push(...node.subgraphs)
    }
  }
  return new Set([...read].filter((value) => !own.has(value)))
}

import { VitpassError } from '../errors.ts'
import type { Attribute } from './attribute.ts'
import { Graph } from './graph.ts'
import { Model } from './model.ts'
import { Node } from './node.ts'
import { Value } from './value.ts'

/** A copy whose graph can be changed without touching the original. Tensors are shared: they never change. */
export function cloneModel(model: Model): Model {
  const copy = new Model(model.irVersion, model.opsets, cloneGraph(model.graph, null, new Map()))
  copy.producerName = model.producerName
  copy.producerVersion = model.producerVersion
  copy.functions.push(...model.functions)
  for (const [key, value] of model.metadata) copy.metadata.set(key, value)
  copy.source = model.source
  copy.passthrough = model.passthrough
  copy.graph.version = model.graph.version
  copy.graph.edits = model.graph.edits
  return copy
}

/** Copies a graph; `values` maps what is outside of it, and gains what is inside. */
function cloneGraph(graph: Graph, parent: Graph | null, values: Map<Value, Value>): Graph {
  const copy = new Graph(graph.name, parent)
  copy.passthrough = graph.passthrough
  const cloned = (value: Value): Value => {
    const known = values.get(value)
    if (known !== undefined) return known
    const made = new Value(value.name)
    made.type = value.type
    made.passthrough = value.passthrough
    values.set(value, made)
    return made
  }
  for (const value of graph.inputs) copy.addInput(cloned(value))
  for (const value of graph.initializers) if (value.tensor !== null) copy.attachInitializer(cloned(value), value.tensor)
  for (const value of graph.sparseInitializers) copy.sparseInitializers.push(cloned(value))
  for (const node of graph.nodes) copy.addNode(cloneNode(node, copy, values, cloned))
  for (const value of graph.outputs) {
    const known = values.get(value)
    if (known === undefined) throw new VitpassError('MODEL_INVALID', `output ${value.name} is not made by any node`)
    copy.addOutput(known)
  }
  return copy
}

/** Copies a node for `graph`; `cloned` gives the copy of each value that it reads or makes, `values` those known to its subgraphs. */
export function cloneNode(node: Node, graph: Graph, values: Map<Value, Value>, cloned: (value: Value) => Value): Node {
  const attributes = [...node.attributes].map(([name, attribute]): [string, Attribute] => [
    name,
    cloneAttribute(attribute, graph, values),
  ])
  const copy = new Node(
    node.opType,
    node.inputs.map((value) => (value === null ? null : cloned(value))),
    node.outputs.map((value) => (value === null ? null : cloned(value))),
    { domain: node.domain, overload: node.overload, name: node.name, attributes },
  )
  copy.passthrough = node.passthrough
  return copy
}

function cloneAttribute(attribute: Attribute, graph: Graph, values: Map<Value, Value>): Attribute {
  if (attribute.type === 'graph') return { ...attribute, value: cloneGraph(attribute.value, graph, values) }
  if (attribute.type === 'graphs')
    return { ...attribute, value: attribute.value.map((body) => cloneGraph(body, graph, values)) }
  return attribute
}

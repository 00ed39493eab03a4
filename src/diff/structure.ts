import type { Attribute } from '../ir/attribute.ts'
import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import type { ContentKeys } from './content.ts'

/** A node by what it computes; names play no part, but those of the model's inputs. */
export interface NodeKeys {
  readonly node: Node
  /** Operator, attributes, and everything that it computes from, up to the model's inputs. */
  readonly whole: string
  /** Operator, attributes and constants only. */
  readonly local: string
}

export interface GraphKeys {
  /** Nodes in graph order; those in the bodies of If, Loop and Scan are part of their node. */
  readonly nodes: readonly NodeKeys[]
  /** What each value is computed from. */
  readonly values: ReadonlyMap<Value, string>
}

/** Keys of every node and value: equal where two graphs compute the same in the same way. */
export function keysOf(graph: Graph, keys: ContentKeys): GraphKeys {
  return keysWithin(graph, keys, new Map(), (value) => `input ${value.name}`)
}

/** The key of a function's body: its inputs count by their order. */
export function bodyKey(graph: Graph, keys: ContentKeys, outer: ReadonlyMap<Value, string> = new Map()): string {
  const { nodes, values } = keysWithin(graph, keys, outer, (_, index) => `formal ${index}`)
  const outputs = graph.outputs.map((value) => values.get(value) ?? '')
  return keys.ofText(JSON.stringify([graph.inputs.length, nodes.map(({ whole }) => whole), outputs]))
}

function keysWithin(
  graph: Graph,
  keys: ContentKeys,
  outer: ReadonlyMap<Value, string>,
  inputKey: (value: Value, index: number) => string,
): GraphKeys {
  const values = new Map(outer)
  graph.inputs.forEach((value, index) => void values.set(value, inputKey(value, index)))
  const constants = new Set<Value>()
  const addConstant = (value: Value, key: string): void => {
    values.set(value, key)
    constants.add(value)
  }
  for (const value of graph.initializers) {
    // The caller may override a constant that is an input too: then it counts by its name as well.
    const name = graph.inputs.includes(value) ? `${values.get(value)} ` : ''
    if (value.tensor !== null) addConstant(value, `${name}${keys.ofTensor(value.tensor)}`)
  }
  for (const value of graph.sparseInitializers) addConstant(value, `sparse ${value.name}`)
  const nodes = graph.nodes.map((node): NodeKeys => {
    const operator = [node.domain, node.opType, node.overload, attributesOf(node, keys, values)]
    const inputs = node.inputs.map((value) => (value === null ? null : (values.get(value) ?? `outer ${value.name}`)))
    const whole = keys.ofText(JSON.stringify([operator, inputs]))
    const fixed = node.inputs.map((value, i) => (value === null || constants.has(value) ? inputs[i] : 'computed'))
    const local = keys.ofText(JSON.stringify([operator, fixed]))
    const constant = node.is('Constant') ? node.tensor('value') : undefined
    node.outputs.forEach((value, index) => {
      if (value === null) return
      if (constant !== undefined) addConstant(value, keys.ofTensor(constant))
      else values.set(value, `${whole} ${index}`)
    })
    return { node, whole, local }
  })
  return { nodes, values }
}

function attributesOf(node: Node, keys: ContentKeys, values: ReadonlyMap<Value, string>): string[] {
  return [...node.attributes].map(([name, attribute]) => `${name}=${attributeKey(attribute, keys, values)}`).sort()
}

function attributeKey(attribute: Attribute, keys: ContentKeys, values: ReadonlyMap<Value, string>): string {
  const { type } = attribute
  switch (attribute.type) {
    case 'tensor':
      return keys.ofTensor(attribute.value)
    case 'tensors':
      return `tensors ${attribute.value.map((tensor) => keys.ofTensor(tensor)).join(' ')}`
    case 'graph':
      return `graph ${bodyKey(attribute.value, keys, values)}`
    case 'graphs':
      return `graphs ${attribute.value.map((graph) => bodyKey(graph, keys, values)).join(' ')}`
    case 'string':
      return `string ${[...attribute.value].join(' ')}`
    case 'strings':
      return `strings ${attribute.value.map((bytes) => [...bytes].join(' ')).join('; ')}`
    case 'opaque':
      return `opaque ${JSON.stringify(attribute.value, (_, part) => (typeof part === 'bigint' ? `${part}n` : part))}`
    default:
      return `${type} ${String(attribute.value)}`
  }
}

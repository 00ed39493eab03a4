import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import type {
  FunctionProto,
  GraphProto,
  NodeProto,
  SparseTensorProto,
  TensorAnnotation,
  ValueInfoProto,
} from './generated/messages.ts'
import {
  AnnotationOrigin,
  type BodyOrigin,
  derive,
  FunctionOrigin,
  GraphOrigin,
  NodeOrigin,
  text,
  ValueOrigin,
} from './origin.ts'
import { type Relocate, serializeAttribute, serializeTensor } from './serialize-tensor.ts'
import { serializeValueInfo } from './serialize-type.ts'

export function serializeGraph(graph: Graph, relocate: Relocate): GraphProto {
  const origin = graph.passthrough instanceof GraphOrigin ? graph.passthrough : undefined
  const initializers = graph.initializers.flatMap((value) =>
    value.tensor === null ? [] : [serializeTensor(value.tensor, value.name, relocate)],
  )
  return derive<GraphProto>(origin?.proto, {
    name: text(graph.name, origin?.proto.name),
    node: graph.nodes.map((node) => serializeNode(node, relocate)),
    input: graph.inputs.map((value) => serializeValueInfo(value, 'info')),
    output: graph.outputs.map((value) => serializeValueInfo(value, 'output')),
    initializer: initializers,
    sparseInitializer: graph.sparseInitializers.flatMap(serializeSparse),
    valueInfo: valueInfos(graph, origin),
    quantizationAnnotation: annotations(graph, origin),
  })
}

/** What of a function's message its body makes. */
export function serializeFunctionBody(graph: Graph, relocate: Relocate): FunctionProto {
  const origin = graph.passthrough instanceof FunctionOrigin ? graph.passthrough : undefined
  return {
    input: graph.inputs.map((value) => value.name),
    output: graph.outputs.map((value) => value.name),
    node: graph.nodes.map((node) => serializeNode(node, relocate)),
    valueInfo: valueInfos(graph, origin),
  }
}

function serializeNode(node: Node, relocate: Relocate): NodeProto {
  const origin = node.passthrough instanceof NodeOrigin ? node.passthrough : undefined
  const before = origin?.proto
  const writer = { relocate, graph: (body: Graph) => serializeGraph(body, relocate) }
  const domain = node.domain === '' && before?.domain === 'ai.onnx' ? 'ai.onnx' : text(node.domain, before?.domain)
  return derive(before, {
    input: node.inputs.map((value) => value?.name ?? ''),
    output: node.outputs.map((value) => value?.name ?? ''),
    name: text(node.name, before?.name),
    opType: text(node.opType, before?.opType),
    domain,
    overload: text(node.overload, before?.overload),
    attribute: [...node.attributes].map(([name, attribute]) => serializeAttribute(name, attribute, writer)),
    deviceConfigurations: before?.deviceConfigurations?.map((configuration) =>
      derive(configuration, {
        shardingSpec: (configuration.shardingSpec ?? []).map((spec) => {
          const value = origin?.sharded.get(spec)
          return value === undefined ? spec : derive(spec, { tensorName: value.name })
        }),
      }),
    ),
  })
}

function serializeSparse(value: Value): SparseTensorProto[] {
  const origin = value.passthrough instanceof ValueOrigin ? value.passthrough : undefined
  const sparse = origin?.sparse ?? null
  if (sparse === null) return []
  return [derive(sparse, { values: derive(sparse.values, { name: value.name }) })]
}

/** Types of values inside the graph: those of the file in its order, less those that are gone, then new ones. */
function valueInfos(graph: Graph, origin: BodyOrigin | undefined): ValueInfoProto[] {
  const present = new Set<Value>([...graph.initializers, ...graph.sparseInitializers])
  for (const node of graph.nodes) for (const value of node.outputs) if (value !== null) present.add(value)
  const declared = new Set<Value>([...graph.inputs, ...graph.outputs])
  const described = (origin?.described ?? []).filter((value) => present.has(value) || declared.has(value))
  const known = new Set(described)
  const added = [...present].filter((value) => value.type !== null && !known.has(value) && !declared.has(value))
  const infos = [...described.filter((value) => !isStale(value)), ...added].map((value) =>
    serializeValueInfo(value, 'info'),
  )
  return [...infos, ...(origin?.dangling ?? [])]
}

/** A declaration that had a type which a pass has taken away. */
function isStale(value: Value): boolean {
  return value.type === null && value.passthrough instanceof ValueOrigin && value.passthrough.type !== null
}

function annotations(graph: Graph, origin: BodyOrigin | undefined): TensorAnnotation[] {
  const alive = (value: Value): boolean =>
    value.producer === null ? isStored(value, graph) : value.producer.graph !== null
  return (origin?.annotations ?? []).flatMap((annotation) => {
    if (!(annotation instanceof AnnotationOrigin)) return [annotation]
    if (!alive(annotation.value)) return []
    const entries = (annotation.proto.quantParameterTensorNames ?? []).map((entry, index) => {
      const value = annotation.parameters[index] ?? null
      return value === null ? entry : derive(entry, { value: value.name })
    })
    return [derive(annotation.proto, { tensorName: annotation.value.name, quantParameterTensorNames: entries })]
  })
}

function isStored(value: Value, graph: Graph): boolean {
  for (let at: Graph | null = graph; at !== null; at = at.parent) {
    if (at.inputs.includes(value) || at.initializers.includes(value) || at.sparseInitializers.includes(value))
      return true
  }
  return false
}

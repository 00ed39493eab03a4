import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import { Value } from '../ir/value.ts'
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
          const sharded = origin?.sharded.get(spec)
          const value = [...node.inputs, ...node.outputs].find((each) => each !== null && each.passthrough === sharded)
          return value === undefined || value === null ? spec : derive(spec, { tensorName: value.name })
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

/** The values of a graph by where they come from. After `replaceOutput` two share an origin: the output stands for it. */
function byOrigin(graph: Graph): Map<unknown, Value> {
  const found = new Map<unknown, Value>()
  const outputs = graph.nodes.flatMap((node) => node.outputs)
  for (const value of [
    ...graph.inputs,
    ...graph.initializers,
    ...graph.sparseInitializers,
    ...outputs,
    ...graph.outputs,
  ]) {
    if (value?.passthrough instanceof ValueOrigin) found.set(value.passthrough, value)
  }
  return found
}

/** Types of values inside the graph: those of the file in its order, less those that are gone, then new ones. */
function valueInfos(graph: Graph, origin: BodyOrigin | undefined): ValueInfoProto[] {
  const values = byOrigin(graph)
  const told = (origin?.described ?? []).flatMap((each): (Value | ValueInfoProto)[] => {
    if (!(each instanceof ValueOrigin)) return [each]
    const value = values.get(each)
    return value === undefined ? [] : [value]
  })
  const described = told.filter((each) => each instanceof Value)
  const known = new Set<Value | null>([...described, ...graph.inputs, ...graph.outputs])
  const inner = [...graph.initializers, ...graph.sparseInitializers, ...graph.nodes.flatMap((node) => node.outputs)]
  const added = inner.flatMap((value) => (value === null || value.type === null || known.has(value) ? [] : [value]))
  return [...told, ...added].flatMap((each) => {
    if (!(each instanceof Value)) return [each]
    return isStale(each) ? [] : [serializeValueInfo(each, 'info')]
  })
}

/** A declaration that had a type which a pass has taken away. */
function isStale(value: Value): boolean {
  return value.type === null && value.passthrough instanceof ValueOrigin && value.passthrough.type !== null
}

/** Annotations of values that still are there, in this graph or around it, by their present names. */
function annotations(graph: Graph, origin: BodyOrigin | undefined): TensorAnnotation[] {
  if (origin === undefined || origin.annotations.length === 0) return []
  const scopes: Map<unknown, Value>[] = []
  for (let at: Graph | null = graph; at !== null; at = at.parent) scopes.push(byOrigin(at))
  const find = (each: ValueOrigin): Value | undefined => scopes.find((scope) => scope.has(each))?.get(each)
  return origin.annotations.flatMap((annotation) => {
    if (!(annotation instanceof AnnotationOrigin)) return [annotation]
    const value = find(annotation.value)
    if (value === undefined) return []
    const entries = (annotation.proto.quantParameterTensorNames ?? []).map((entry, index) => {
      const parameter = annotation.parameters[index] ?? null
      const present = parameter === null ? undefined : find(parameter)
      return present === undefined ? entry : derive(entry, { value: present.name })
    })
    return [derive(annotation.proto, { tensorName: value.name, quantParameterTensorNames: entries })]
  })
}

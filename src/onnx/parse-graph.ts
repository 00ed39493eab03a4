import { VitpassError } from '../errors.ts'
import type { Attribute } from '../ir/attribute.ts'
import { Graph } from '../ir/graph.ts'
import { Node } from '../ir/node.ts'
import { Value } from '../ir/value.ts'
import type {
  FunctionProto,
  GraphProto,
  NodeProto,
  ShardingSpecProto,
  TensorAnnotation,
  ValueInfoProto,
} from './generated/messages.ts'
import { AnnotationOrigin, FunctionOrigin, GraphOrigin, NodeOrigin, ValueOrigin } from './origin.ts'
import { type AttributeContext, parseAttribute } from './parse-attribute.ts'
import { type OpenExternal, parseTensor, parseType, refuseExternal } from './parse-tensor.ts'

/** The names that a graph sees: its own and, for a body, those of the graphs around it. */
class Scope {
  readonly own = new Map<string, Value>()
  readonly outer: Scope | null

  constructor(outer: Scope | null) {
    this.outer = outer
  }

  find(name: string): Value | undefined {
    return this.own.get(name) ?? this.outer?.find(name)
  }
}

export function parseGraph(proto: GraphProto, open: OpenExternal): Graph {
  return new GraphParser(open, new Graph(proto.name ?? ''), null).graphProto(proto)
}

/** A function's body; its inputs and outputs are the formal ones. */
export function parseFunctionBody(proto: FunctionProto, open: OpenExternal): Graph {
  return new GraphParser(open, new Graph(proto.name ?? ''), null).functionProto(proto)
}

class GraphParser {
  private readonly open: OpenExternal
  private readonly graph: Graph
  private readonly scope: Scope
  private readonly attributes: AttributeContext

  constructor(open: OpenExternal, graph: Graph, outer: Scope | null) {
    this.open = open
    this.graph = graph
    this.scope = new Scope(outer)
    this.attributes = {
      open,
      graph: (body) => new GraphParser(open, new Graph(body.name ?? '', graph), this.scope).graphProto(body),
    }
  }

  graphProto(proto: GraphProto): Graph {
    const { graph } = this
    for (const info of proto.input ?? []) {
      const value = this.define(info.name ?? '', 'input')
      graph.addInput(value)
      this.describe(value, info, 'info')
    }
    this.initializers(proto)
    this.nodes(proto.node ?? [])
    for (const info of proto.output ?? []) {
      const value = this.ownOutput(info.name ?? '')
      graph.addOutput(value)
      this.describe(value, info, 'output')
    }
    const annotations = (proto.quantizationAnnotation ?? []).map((annotation) => this.annotation(annotation))
    graph.passthrough = new GraphOrigin(proto, this.valueInfos(proto), annotations)
    this.forget(proto)
    proto.initializer = undefined
    proto.sparseInitializer = undefined
    proto.quantizationAnnotation = undefined
    return graph
  }

  functionProto(proto: FunctionProto): Graph {
    for (const name of proto.input ?? []) this.graph.addInput(this.define(name, 'input'))
    this.nodes(proto.node ?? [])
    for (const name of proto.output ?? []) this.graph.addOutput(this.ownOutput(name))
    this.graph.passthrough = new FunctionOrigin(proto, this.valueInfos(proto), [])
    this.forget(proto)
    return this.graph
  }

  private initializers(proto: GraphProto): void {
    const { graph, scope } = this
    for (const tensorProto of proto.initializer ?? []) {
      const tensor = parseTensor(tensorProto, this.open)
      const known = scope.own.get(tensor.name)
      // A graph input may have a default; of two initializers with one name, ONNX Runtime takes the later.
      graph.attachInitializer(known ?? this.define(tensor.name, 'initializer'), tensor)
    }
    for (const sparse of proto.sparseInitializer ?? []) {
      const name = sparse.values?.name ?? ''
      const value = scope.own.get(name) ?? this.define(name, 'sparse initializer')
      refuseExternal(sparse, `sparse tensor ${name}`)
      originOf(value).sparse = sparse
      graph.sparseInitializers.push(value)
    }
  }

  /** Makes every output first, so that nodes may come in any order, as ONNX Runtime takes them. */
  private nodes(protos: readonly NodeProto[]): void {
    const outputs = protos.map((proto) =>
      (proto.output ?? []).map((name) =>
        name === '' ? null : this.define(name, `output of node ${proto.name ?? ''}`),
      ),
    )
    for (const [index, proto] of protos.entries()) this.node(proto, outputs[index] ?? [])
    this.sort()
  }

  private sort(): void {
    try {
      this.graph.sort()
    } catch (cause) {
      if (!(cause instanceof VitpassError)) throw cause
      const node = cause.node === undefined ? {} : { node: cause.node }
      throw new VitpassError('MODEL_INVALID', 'nodes read each other in a circle', { ...node, cause })
    }
  }

  private node(proto: NodeProto, outputs: readonly (Value | null)[]): void {
    const label =
      proto.name !== undefined && proto.name !== '' ? proto.name : (proto.output?.find((name) => name !== '') ?? '')
    const inputs = (proto.input ?? []).map((name) => (name === '' ? null : this.resolve(name, `node ${label}`)))
    if (inputs.some((value) => value !== null && outputs.includes(value))) {
      throw new VitpassError('MODEL_INVALID', 'a node reads its own output', { node: label })
    }
    const attributes = new Map<string, Attribute>()
    for (const attribute of proto.attribute ?? []) {
      const name = attribute.name ?? ''
      if (attributes.has(name)) {
        throw new VitpassError('MODEL_INVALID', `attribute ${name} is given twice`, { node: label })
      }
      attributes.set(name, parseAttribute(attribute, this.attributes))
    }
    const node = new Node(proto.opType ?? '', inputs, outputs, {
      domain: proto.domain ?? '',
      overload: proto.overload ?? '',
      name: proto.name ?? '',
      attributes,
    })
    node.passthrough = new NodeOrigin(proto, this.sharded(proto))
    this.graph.addNode(node)
    proto.input = undefined
    proto.output = undefined
    proto.attribute = undefined
  }

  private sharded(proto: NodeProto): ReadonlyMap<ShardingSpecProto, ValueOrigin> {
    const found = new Map<ShardingSpecProto, ValueOrigin>()
    for (const configuration of proto.deviceConfigurations ?? []) {
      for (const spec of configuration.shardingSpec ?? []) {
        const value = this.scope.find(spec.tensorName ?? '')
        if (value !== undefined) found.set(spec, originOf(value))
      }
    }
    return found
  }

  private valueInfos(proto: GraphProto | FunctionProto): (ValueOrigin | ValueInfoProto)[] {
    const described: (ValueOrigin | ValueInfoProto)[] = []
    for (const info of proto.valueInfo ?? []) {
      const value = this.scope.own.get(info.name ?? '')
      if (value === undefined) described.push(info)
      // Some tools describe a value twice: of a changed model only the first description is kept.
      else if (originOf(value).info === null) {
        this.describe(value, info, 'info')
        described.push(originOf(value))
      }
    }
    return described
  }

  /** Lets go of what the IR now has. */
  private forget(proto: GraphProto | FunctionProto): void {
    proto.node = undefined
    proto.input = undefined
    proto.output = undefined
    proto.valueInfo = undefined
  }

  private describe(value: Value, info: ValueInfoProto, role: 'info' | 'output'): void {
    const origin = originOf(value)
    origin[role] = info
    if (origin.type !== null || info.type === undefined) return
    origin.type = parseType(info.type)
    value.type = origin.type
  }

  private annotation(proto: TensorAnnotation): AnnotationOrigin | TensorAnnotation {
    const value = this.scope.find(proto.tensorName ?? '')
    if (value === undefined) return proto
    const parameters = (proto.quantParameterTensorNames ?? []).map((entry) => {
      const parameter = this.scope.find(entry.value ?? '')
      return parameter === undefined ? null : originOf(parameter)
    })
    return new AnnotationOrigin(proto, originOf(value), parameters)
  }

  private define(name: string, what: string): Value {
    if (name === '') throw new VitpassError('MODEL_INVALID', `an ${what} of graph ${this.graph.name} has no name`)
    if (this.scope.own.has(name))
      throw new VitpassError('MODEL_INVALID', `two values are named ${name}; the later is an ${what}`)
    const value = new Value(name)
    this.scope.own.set(name, value)
    this.graph.claimName(name)
    return value
  }

  /** A body may not pass an outer value straight through: ONNX Runtime refuses it, and its consumers would not be known. */
  private ownOutput(name: string): Value {
    const value = this.scope.own.get(name)
    if (value !== undefined) return value
    throw new VitpassError('MODEL_INVALID', `output ${name} of graph ${this.graph.name} is not made in it`)
  }

  private resolve(name: string, reader: string): Value {
    const value = this.scope.find(name)
    if (value !== undefined) return value
    throw new VitpassError('MODEL_INVALID', `${reader} reads ${name}, which nothing makes`)
  }
}

function originOf(value: Value): ValueOrigin {
  if (!(value.passthrough instanceof ValueOrigin)) value.passthrough = new ValueOrigin()
  return value.passthrough as ValueOrigin // just made sure
}

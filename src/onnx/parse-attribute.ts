import { VitpassError } from '../errors.ts'
import type { Attribute, AttributeValue } from '../ir/attribute.ts'
import type { Graph } from '../ir/graph.ts'
import type { AttributeProto, GraphProto } from './generated/messages.ts'
import { AttributeOrigin } from './origin.ts'
import { type OpenExternal, parseTensor, refuseExternal } from './parse-tensor.ts'

/** `AttributeProto.AttributeType`. */
export const ATTRIBUTE_TYPES = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
  tensors: 9,
  graphs: 10,
} as const

const TYPE_NAMES = new Map(
  Object.entries(ATTRIBUTE_TYPES).map(([name, id]) => [id as number, name as keyof typeof ATTRIBUTE_TYPES]),
)

export interface AttributeContext {
  readonly open: OpenExternal
  /** Reads a body. */
  readonly graph: (proto: GraphProto) => Graph
}

const bits = new DataView(new ArrayBuffer(4))

/** The codec leaves floats as their bits, so that a NaN keeps its payload. */
export function floatOfBits(word: number): number {
  bits.setUint32(0, word)
  return bits.getFloat32(0)
}

export function bitsOfFloat(value: number): number {
  bits.setFloat32(0, value)
  return bits.getUint32(0)
}

export function parseAttribute(proto: AttributeProto, context: AttributeContext): Attribute {
  const value = parseValue(proto, context)
  if (value.type === 'opaque') refuseExternal(proto, `attribute ${proto.name ?? ''}`)
  const passthrough = new AttributeOrigin(proto)
  if (value.type === 'tensor') proto.t = undefined
  else if (value.type === 'graph') proto.g = undefined
  else if (value.type === 'tensors') proto.tensors = undefined
  else if (value.type === 'graphs') proto.graphs = undefined
  return { ...value, passthrough }
}

function parseValue(proto: AttributeProto, { open, graph }: AttributeContext): AttributeValue {
  const opaque: AttributeValue = { type: 'opaque', value: proto }
  if (proto.refAttrName !== undefined && proto.refAttrName !== '') return opaque
  const type =
    TYPE_NAMES.get(proto.type ?? 0) ?? (proto.type === undefined || proto.type === 0 ? inferType(proto) : undefined)
  switch (type) {
    case 'float':
      return { type, value: floatOfBits(proto.f ?? 0) }
    case 'int':
      return { type, value: proto.i ?? 0n }
    case 'string':
      return { type, value: proto.s ?? new Uint8Array(0) }
    case 'tensor':
      if (proto.t === undefined) throw missing(proto)
      return { type, value: parseTensor(proto.t, open) }
    case 'graph':
      if (proto.g === undefined) throw missing(proto)
      return { type, value: graph(proto.g) }
    case 'floats':
      return { type, value: (proto.floats ?? []).map(floatOfBits) }
    case 'ints':
      return { type, value: proto.ints ?? [] }
    case 'strings':
      return { type, value: proto.strings ?? [] }
    case 'tensors':
      return { type, value: (proto.tensors ?? []).map((tensor) => parseTensor(tensor, open)) }
    case 'graphs':
      return { type, value: (proto.graphs ?? []).map(graph) }
    default:
      return opaque
  }
}

/** Files of the first IR version give no type. */
function inferType(proto: AttributeProto): keyof typeof ATTRIBUTE_TYPES | undefined {
  if (proto.f !== undefined) return 'float'
  if (proto.i !== undefined) return 'int'
  if (proto.s !== undefined) return 'string'
  if (proto.t !== undefined) return 'tensor'
  if (proto.g !== undefined) return 'graph'
  if ((proto.floats ?? []).length > 0) return 'floats'
  if ((proto.ints ?? []).length > 0) return 'ints'
  if ((proto.strings ?? []).length > 0) return 'strings'
  if ((proto.tensors ?? []).length > 0) return 'tensors'
  return (proto.graphs ?? []).length > 0 ? 'graphs' : undefined
}

function missing(proto: AttributeProto): VitpassError {
  return new VitpassError(
    'MODEL_INVALID',
    `attribute ${proto.name ?? ''} says that it has a tensor or a graph, and has none`,
  )
}

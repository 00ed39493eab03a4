import type { Attribute } from '../ir/attribute.ts'
import { DTYPES } from '../ir/dtype.ts'
import type { Graph } from '../ir/graph.ts'
import type { Tensor, TensorStorage } from '../ir/tensor.ts'
import type { AttributeProto, GraphProto, StringStringEntryProto, TensorProto } from './generated/messages.ts'
import { AttributeOrigin, derive, TensorOrigin, text } from './origin.ts'
import { ATTRIBUTE_TYPES, bitsOfFloat, floatOfBits } from './parse-attribute.ts'

export type ExternalStorage = Extract<TensorStorage, { readonly kind: 'external' }>

/** Where external data will stand in the output; the identity keeps the references as they are. */
export type Relocate = (storage: ExternalStorage) => { readonly location: string; readonly offset: number }

export function serializeTensor(tensor: Tensor, name: string, relocate: Relocate): TensorProto {
  const origin = tensor.passthrough instanceof TensorOrigin ? tensor.passthrough : undefined
  const { storage } = tensor
  const changes: TensorProto = {
    name: text(name, origin?.proto.name),
    dims: tensor.dims.map(BigInt),
    // A type that the IR has no name for is written as it was read.
    dataType: tensor.dtype === 'undefined' ? origin?.proto.dataType : DTYPES[tensor.dtype],
  }
  if (storage.kind === 'external') {
    changes.dataLocation = 1
    changes.externalData = externalEntries(storage, relocate, origin?.proto.externalData ?? [])
  } else {
    if (origin?.proto.dataLocation === 1) {
      changes.dataLocation = undefined
      changes.externalData = undefined
    }
    if (storage.kind === 'strings') changes.stringData = [...storage.values]
    else if (!isAbsent(storage, origin)) changes.payload = storage
  }
  return derive(origin?.proto, changes)
}

/** A tensor of no elements may come without any value field. */
function isAbsent(storage: TensorStorage, origin: TensorOrigin | undefined): boolean {
  return origin !== undefined && storage === origin.storage && !origin.hasPayload
}

function externalEntries(
  storage: ExternalStorage,
  relocate: Relocate,
  before: readonly StringStringEntryProto[],
): StringStringEntryProto[] {
  const { location, offset } = relocate(storage)
  const given = new Map([
    ['location', location],
    ['offset', String(offset)],
    ['length', String(storage.length)],
  ])
  const entries = before.map((entry) => {
    const value = given.get(entry.key ?? '')
    given.delete(entry.key ?? '')
    return value === undefined ? entry : derive(entry, { value })
  })
  // Offset 0 and the length that the dims give need not be written.
  if (before.length > 0 && offset === 0) given.delete('offset')
  if (before.length > 0) given.delete('length')
  return [...entries, ...[...given].map(([key, value]) => ({ key, value }))]
}

export interface AttributeWriter {
  readonly relocate: Relocate
  readonly graph: (graph: Graph) => GraphProto
}

export function serializeAttribute(name: string, attribute: Attribute, writer: AttributeWriter): AttributeProto {
  const origin = attribute.passthrough instanceof AttributeOrigin ? attribute.passthrough : undefined
  if (attribute.type === 'opaque') return derive(origin?.proto ?? (attribute.value as AttributeProto), { name })
  const before = origin?.proto
  // The type is left out where the file left it out, as those of the first IR version do.
  const type = before !== undefined && before.type === undefined ? undefined : ATTRIBUTE_TYPES[attribute.type]
  return derive(before, { name, type, ...attributeValue(attribute, before, writer) })
}

function attributeValue(
  attribute: Attribute,
  before: AttributeProto | undefined,
  writer: AttributeWriter,
): AttributeProto {
  const tensor = (each: Tensor): TensorProto => serializeTensor(each, each.name, writer.relocate)
  switch (attribute.type) {
    case 'float':
      return { f: sameFloat(attribute.value, before?.f) ?? bitsOfFloat(attribute.value) }
    case 'int':
      return { i: attribute.value }
    case 'string':
      return { s: attribute.value }
    case 'tensor':
      return { t: tensor(attribute.value) }
    case 'graph':
      return { g: writer.graph(attribute.value) }
    case 'floats':
      return {
        floats: attribute.value.map((value, index) => sameFloat(value, before?.floats?.[index]) ?? bitsOfFloat(value)),
      }
    case 'ints':
      return { ints: [...attribute.value] }
    case 'strings':
      return { strings: [...attribute.value] }
    case 'tensors':
      return { tensors: attribute.value.map(tensor) }
    case 'graphs':
      return { graphs: attribute.value.map(writer.graph) }
    case 'opaque':
      return {}
  }
}

/** The bits as read, where they still say the same: of NaNs there are many. */
function sameFloat(value: number, before: number | undefined): number | undefined {
  return before !== undefined && Object.is(floatOfBits(before), value) ? before : undefined
}

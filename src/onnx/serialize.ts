import { VitpassError } from '../errors.ts'
import type { Model, ModelFunction } from '../ir/model.ts'
import { encodeModel } from './codec.ts'
import type { FunctionProto, ModelProto, OperatorSetIdProto, StringStringEntryProto } from './generated/messages.ts'
import { derive, FunctionOrigin, ModelOrigin, text } from './origin.ts'
import { opsetDomain } from './parse.ts'
import type { Piece } from './payload.ts'
import { serializeFunctionBody, serializeGraph } from './serialize-graph.ts'
import { type Relocate, serializeAttribute } from './serialize-tensor.ts'
import { MAX_MESSAGE, pieceLength, splicePayloads } from './splice.ts'

const keepReferences: Relocate = ({ location, offset }) => ({ location, offset })

/**
 * The model's bytes; those that it was read from where nothing has changed. References to external data stay as they are.
 * @throws VitpassError MODEL_UNSUPPORTED for a model over 2 GiB, which protobuf cannot hold
 */
export function serializeModel(model: Model): Uint8Array {
  const pieces = serializePieces(model)
  checkSize(pieceLength(pieces))
  const bytes = new Uint8Array(pieceLength(pieces))
  let at = 0
  for (const piece of pieces) {
    bytes.set(piece instanceof Uint8Array ? piece : piece.source.read(piece.offset, piece.length), at)
    at += piece.length
  }
  return bytes
}

/** The same in pieces, so that weights can be streamed from where they are. */
export function serializePieces(model: Model, relocate: Relocate | null = null): Piece[] {
  if (relocate === null && model.source !== null && isUntouched(model)) {
    return [{ source: model.source, offset: 0, length: model.source.size }]
  }
  const { bytes, payloads } = encodeModel(modelProto(model, relocate ?? keepReferences))
  const pieces = splicePayloads(bytes, payloads)
  checkSize(pieceLength(pieces))
  return pieces
}

function checkSize(size: number): void {
  if (size <= MAX_MESSAGE) return
  throw new VitpassError(
    'MODEL_UNSUPPORTED',
    `the model would have ${size} bytes, and a protobuf file can have 2 GiB at most`,
    {
      remedy: 'save the original with external data first',
    },
  )
}

/** True while no change has been noted since the model was read. */
export function isUntouched(model: Model): boolean {
  const origin = model.passthrough
  if (!(origin instanceof ModelOrigin) || model.graph.version !== 0) return false
  if (origin.functions.length !== model.functions.length) return false
  return model.functions.every((each, index) => each === origin.functions[index] && each.graph.version === 0)
}

function modelProto(model: Model, relocate: Relocate): ModelProto {
  const before = model.passthrough instanceof ModelOrigin ? model.passthrough.proto : undefined
  return derive(before, {
    irVersion: model.irVersion === 0 ? before?.irVersion : BigInt(model.irVersion),
    opsetImport: mergeOpsets(model.opsets, before?.opsetImport ?? []),
    producerName: text(model.producerName, before?.producerName),
    producerVersion: text(model.producerVersion, before?.producerVersion),
    graph: serializeGraph(model.graph, relocate),
    metadataProps: mergeMetadata(model.metadata, before?.metadataProps ?? []),
    functions: model.functions.map((each) => functionProto(each, relocate)),
  })
}

/** The entries as read, with their order and their name for ai.onnx, brought up to date. */
function mergeOpsets(opsets: ReadonlyMap<string, number>, before: readonly OperatorSetIdProto[]): OperatorSetIdProto[] {
  return merge(opsets, before, opsetDomain, (entry) => Number(entry.version ?? 0n), {
    change: (entry, version) => derive(entry, { version: BigInt(version) }),
    add: (domain, version) => ({ domain, version: BigInt(version) }),
  })
}

function mergeMetadata(
  metadata: ReadonlyMap<string, string>,
  before: readonly StringStringEntryProto[],
): StringStringEntryProto[] {
  return merge(
    metadata,
    before,
    (entry) => entry.key ?? '',
    (entry) => entry.value ?? '',
    {
      change: (entry, value) => derive(entry, { value }),
      add: (key, value) => ({ key, value }),
    },
  )
}

/** Entries of a map that have not changed stay, those of keys that are gone go, and new ones come last. */
function merge<Entry, T>(
  map: ReadonlyMap<string, T>,
  before: readonly Entry[],
  keyOf: (entry: Entry) => string,
  valueIn: (entry: Entry) => T,
  make: { readonly change: (entry: Entry, value: T) => Entry; readonly add: (key: string, value: T) => Entry },
): Entry[] {
  // Where a key came twice the last entry was taken.
  const read = new Map(before.map((entry) => [keyOf(entry), valueIn(entry)]))
  const kept = before.flatMap((entry) => {
    const value = map.get(keyOf(entry))
    if (value === undefined) return []
    return [value === read.get(keyOf(entry)) ? entry : make.change(entry, value)]
  })
  return [...kept, ...[...map].filter(([key]) => !read.has(key)).map(([key, value]) => make.add(key, value))]
}

function functionProto(each: ModelFunction, relocate: Relocate): FunctionProto {
  const before = each.passthrough instanceof FunctionOrigin ? each.passthrough.proto : undefined
  const writer = { relocate, graph: (body: ModelFunction['graph']) => serializeGraph(body, relocate) }
  return derive<FunctionProto>(before, {
    ...serializeFunctionBody(each.graph, relocate),
    domain: text(each.domain, before?.domain),
    name: text(each.name, before?.name),
    overload: text(each.overload, before?.overload),
    attribute: [...each.attributes],
    attributeProto: [...each.attributeDefaults].map(([name, value]) => serializeAttribute(name, value, writer)),
    opsetImport: mergeOpsets(each.opsets, before?.opsetImport ?? []),
  })
}

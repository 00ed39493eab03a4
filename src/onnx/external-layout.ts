import { VitpassError } from '../errors.ts'
import type { Attribute } from '../ir/attribute.ts'
import type { Graph } from '../ir/graph.ts'
import type { Model } from '../ir/model.ts'
import type { ByteSource, Tensor } from '../ir/tensor.ts'
import type { Piece } from './payload.ts'
import { isUntouched } from './serialize.ts'
import type { ExternalStorage, Relocate } from './serialize-tensor.ts'

/** Offsets of large tensors are multiples of a page, as the format asks for memory mapping; small ones of a cache line. */
const PAGE = 4096
const LINE = 64

export interface ExternalLayout {
  /** The data file's name. */
  readonly location: string
  /** Its content; none where the model has no external data. */
  readonly pieces: readonly Piece[]
  /** Null where the references stay as they are. */
  readonly relocate: Relocate | null
  /** The files that the data comes from. */
  readonly sources: readonly ByteSource[]
}

/**
 * Lays all external data of a model into one file; `name` gives its name, knowing the files that the data comes from. A model that has not been
 * changed and has its data in one file of that name keeps its layout.
 * @throws VitpassError EXTERNAL_DATA where the data is not at hand
 */
export function planExternal(model: Model, name: (sources: readonly ByteSource[]) => string): ExternalLayout {
  const storages = [...new Set(externalStorages(model))]
  const sources = [...new Set(storages.map(sourceOf))]
  const location = name(sources)
  const [first] = sources
  if (first === undefined) return { location, pieces: [], relocate: null, sources }
  if (sources.length === 1 && isUntouched(model) && storages.every((storage) => storage.location === location)) {
    return { location, pieces: [{ source: first, offset: 0, length: first.size }], relocate: null, sources }
  }
  const { pieces, offsets } = layOut(storages)
  const relocate: Relocate = (storage) => ({ location, offset: offsets.get(storage) ?? 0 })
  return { location, pieces, relocate, sources }
}

/** Puts the data one behind the other; tensors that share their bytes share them in the new file too. */
function layOut(storages: readonly ExternalStorage[]): { pieces: Piece[]; offsets: Map<ExternalStorage, number> } {
  const pieces: Piece[] = []
  const offsets = new Map<ExternalStorage, number>()
  const placed = new Map<ByteSource, Map<string, number>>()
  let end = 0
  for (const storage of storages) {
    const source = sourceOf(storage)
    const inSource = placed.get(source) ?? new Map<string, number>()
    placed.set(source, inSource)
    const key = `${storage.offset}:${storage.length}`
    const step = storage.length >= PAGE ? PAGE : LINE
    const offset = inSource.get(key) ?? Math.ceil(end / step) * step
    offsets.set(storage, offset)
    if (inSource.has(key)) continue
    inSource.set(key, offset)
    if (offset > end) pieces.push(new Uint8Array(offset - end))
    pieces.push({ source, offset: storage.offset, length: storage.length })
    end = offset + storage.length
  }
  return { pieces, offsets }
}

function sourceOf(storage: ExternalStorage): ByteSource {
  if (storage.source !== null) return storage.source
  throw new VitpassError('EXTERNAL_DATA', `the data in ${storage.location} was not given with the model`, {
    remedy: 'read the model from its path, so that the files beside it are found',
  })
}

function externalStorages(model: Model): ExternalStorage[] {
  const tensors = [model.graph, ...model.functions.map((each) => each.graph)].flatMap((graph) => tensorsOf(graph))
  const defaults = model.functions.flatMap((each) => [...each.attributeDefaults.values()].flatMap(attributeTensors))
  return [...tensors, ...defaults].flatMap(({ storage }) => (storage.kind === 'external' ? [storage] : []))
}

function tensorsOf(graph: Graph): Tensor[] {
  const found = graph.initializers.flatMap((value) => (value.tensor === null ? [] : [value.tensor]))
  for (const node of graph.nodes) {
    for (const attribute of node.attributes.values()) found.push(...attributeTensors(attribute))
    for (const body of node.subgraphs) found.push(...tensorsOf(body))
  }
  return found
}

function attributeTensors(attribute: Attribute): readonly Tensor[] {
  if (attribute.type === 'tensor') return [attribute.value]
  return attribute.type === 'tensors' ? attribute.value : []
}

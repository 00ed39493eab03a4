import type { ByteSource, TypedField } from '../ir/tensor.ts'
import { CONTAINERS, type Container, PAYLOAD_FIELD } from './generated/tensor-paths.ts'
import { LazyTyped, type Payload, RAW_DATA, typedField } from './payload.ts'
import { ByteBuilder, Cursor, malformed } from './wire.ts'

/**
 * A model without its weights: the same protobuf message, in which the elements of every tensor are replaced by
 * `TensorProto.payload`, the number of an entry in `payloads`. It is small, so that a codec can decode it in memory.
 */
export interface Skeleton {
  readonly bytes: Uint8Array
  readonly payloads: readonly Payload[]
}

/** Elements of up to this many bytes are read at once; larger ones stay in the source. */
const IN_MEMORY = 1024
/** Messages inside messages; a subgraph takes three. */
const MAX_DEPTH = 90

/** @throws VitpassError MODEL_TRUNCATED or MODEL_INVALID, with the byte at which the file goes wrong */
export function readSkeleton(source: ByteSource): Skeleton {
  const reader = new SkeletonReader(source)
  reader.message('ModelProto', source.size, 0)
  // A copy of its own size: texts and unknown fields of the model are views of it.
  return { bytes: reader.out.bytes().slice(), payloads: reader.payloads }
}

interface Elements {
  readonly field: TypedField | 'raw_data'
  readonly offset: number
  readonly length: number
  /** Set where the field came in several parts: they are one. */
  readonly joined: ByteBuilder | null
}

class SkeletonReader {
  readonly out = new ByteBuilder(256 * 1024)
  readonly payloads: Payload[] = []
  private readonly source: ByteSource
  private readonly cursor: Cursor

  constructor(source: ByteSource) {
    this.source = source
    this.cursor = new Cursor(source)
  }

  message(type: Container, end: number, depth: number): void {
    const { cursor, out } = this
    if (depth > MAX_DEPTH) throw malformed(this.source, cursor.pos, 'messages are nested too deeply')
    const inner = CONTAINERS[type]
    while (cursor.pos < end) {
      const start = cursor.pos
      const { field, wireType } = this.tag()
      const child = wireType === 2 ? inner.get(field) : undefined
      if (child === undefined) {
        cursor.skip(field, wireType, end)
        out.push(cursor.slice(start, cursor.pos))
        continue
      }
      out.varint(field * 8 + 2)
      const length = out.openLength()
      const stop = cursor.fieldEnd(end)
      if (child === 'TensorProto') this.tensor(stop)
      else this.message(child, stop, depth + 1)
      out.closeLength(length)
    }
  }

  private tag(): { readonly field: number; readonly wireType: number } {
    const tag = this.cursor.varint()
    const field = Math.floor(tag / 8)
    if (field === 0 || field >= 2 ** 29) throw malformed(this.source, this.cursor.pos, `a field has number ${field}`)
    return { field, wireType: tag % 8 }
  }

  private tensor(end: number): void {
    const { cursor, out } = this
    let elements: Elements | null = null
    while (cursor.pos < end) {
      const start = cursor.pos
      const { field, wireType } = this.tag()
      const typed = typedField(field)
      const name = field === RAW_DATA ? 'raw_data' : typed?.field
      if (name !== undefined && (wireType === 2 || wireType === typed?.element)) {
        const stop = wireType === 2 ? cursor.fieldEnd(end) : null
        const from = cursor.pos
        if (stop === null) cursor.skip(field, wireType, end)
        else cursor.pos = stop
        elements = this.joinElements(elements, name, from, cursor.pos - from)
        continue
      }
      if (field === PAYLOAD_FIELD) throw malformed(this.source, cursor.pos, `a tensor has a field of number ${field}`)
      cursor.skip(field, wireType, end)
      out.push(cursor.slice(start, cursor.pos))
    }
    if (elements !== null) this.payload(elements)
  }

  private joinElements(before: Elements | null, field: Elements['field'], offset: number, length: number): Elements {
    const found = { field, offset, length, joined: null }
    if (before === null || before.length === 0) return found
    if (before.field !== field) {
      if (length === 0) return before
      throw malformed(this.source, offset, `a tensor has both ${before.field} and ${field}`)
    }
    // Of a field that comes once the last stands; a repeated one goes on.
    if (field === 'raw_data') return found
    const joined = before.joined ?? new ByteBuilder()
    if (before.joined === null) joined.push(this.cursor.slice(before.offset, before.offset + before.length))
    joined.push(this.cursor.slice(offset, offset + length))
    return { ...before, length: joined.length, joined }
  }

  private payload({ field, offset, length, joined }: Elements): void {
    const { source } = this
    const index = new Uint8Array(8)
    new DataView(index.buffer).setUint32(0, this.payloads.length, true)
    this.out.varint(PAYLOAD_FIELD * 8 + 1)
    this.out.push(index)
    const bytes = (): Uint8Array => joined?.bytes().slice() ?? this.cursor.slice(offset, offset + length).slice()
    if (field === 'raw_data') {
      this.payloads.push(
        length > IN_MEMORY ? { kind: 'range', source, offset, length } : { kind: 'raw', bytes: bytes() },
      )
    } else if (joined === null && length > IN_MEMORY) {
      this.payloads.push(new LazyTyped(field, source, offset, length))
    } else {
      this.payloads.push({ kind: 'typed', field, bytes: bytes() })
    }
  }
}

import { VitpassError } from '../errors.ts'
import type { ByteSource } from '../ir/tensor.ts'

/** Bytes in memory as a source. Reads are views, not copies. */
export class MemorySource implements ByteSource {
  readonly name: string
  readonly size: number
  private readonly bytes: Uint8Array

  constructor(bytes: Uint8Array, name = 'model') {
    this.name = name
    this.bytes = bytes
    this.size = bytes.length
  }

  read(offset: number, length: number): Uint8Array {
    if (offset < 0 || length < 0 || offset + length > this.size) throw outside(this, offset, length)
    return this.bytes.subarray(offset, offset + length)
  }
}

export function outside(source: ByteSource, offset: number, length: number): VitpassError {
  return new VitpassError(
    'MODEL_TRUNCATED',
    `bytes ${offset} to ${offset + length} are needed, and there are ${source.size}`,
    {
      where: source.name,
      remedy: 'get the whole file again',
    },
  )
}

export function malformed(source: ByteSource, offset: number, what: string): VitpassError {
  return new VitpassError('MODEL_INVALID', `${what} at byte ${offset}`, {
    where: source.name,
    remedy: 'the file is damaged or is no ONNX model: export it or get it again',
  })
}

const WINDOW = 64 * 1024
/** Groups inside groups that an unknown field may have. */
const MAX_GROUPS = 50

/** Reads protobuf wire format from a source through a small window, so that skipping over weights costs nothing. */
export class Cursor {
  readonly source: ByteSource
  pos = 0
  private window: Uint8Array = new Uint8Array(0)
  private start = 0

  constructor(source: ByteSource) {
    this.source = source
  }

  byte(): number {
    const at = this.pos - this.start
    const byte = at >= 0 ? this.window[at] : undefined
    if (byte === undefined) return this.refill()
    this.pos += 1
    return byte
  }

  private refill(): number {
    if (this.pos >= this.source.size) throw outside(this.source, this.pos, 1)
    this.start = this.pos
    this.window = this.source.read(this.pos, Math.min(WINDOW, this.source.size - this.pos))
    return this.byte()
  }

  /** An unsigned varint; above 2^53 it is rounded, which no tag or length that fits the file can be. */
  varint(): number {
    const first = this.byte()
    if (first < 128) return first
    let value = first & 127
    for (let scale = 128, count = 1; ; scale *= 128, count += 1) {
      if (count === 10) throw malformed(this.source, this.pos, 'an integer has more than ten bytes')
      const byte = this.byte()
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
  }

  /** Bytes of the source, valid until the next call. */
  slice(from: number, to: number): Uint8Array {
    const at = from - this.start
    if (at >= 0 && to - this.start <= this.window.length) return this.window.subarray(at, to - this.start)
    return this.source.read(from, to - from)
  }

  /** Passes over the value of a field whose tag has been read; `end` is where the message ends. */
  skip(field: number, wireType: number, end: number, depth = 0): void {
    if (wireType === 0) this.varint()
    else if (wireType === 1) this.pos += 8
    else if (wireType === 5) this.pos += 4
    else if (wireType === 2) this.pos = this.fieldEnd(end)
    else if (wireType === 3) this.skipGroup(field, end, depth)
    else throw malformed(this.source, this.pos, `a field has wire type ${wireType}`)
    if (this.pos > end) throw this.overrun(this.pos, end)
  }

  /** Reads a length and says where the field ends. */
  fieldEnd(end: number): number {
    const length = this.varint()
    const stop = this.pos + length
    if (stop > end) throw this.overrun(stop, end)
    return stop
  }

  private overrun(stop: number, end: number): VitpassError {
    if (end === this.source.size) return outside(this.source, this.pos, stop - this.pos)
    return malformed(this.source, this.pos, `a field ends at byte ${stop}, beyond its message, which ends at ${end},`)
  }

  private skipGroup(field: number, end: number, depth: number): void {
    if (depth === MAX_GROUPS) throw malformed(this.source, this.pos, 'groups are nested too deeply')
    while (this.pos < end) {
      const tag = this.varint()
      const inner = Math.floor(tag / 8)
      if (tag % 8 === 4) {
        if (inner === field) return
        throw malformed(this.source, this.pos, 'a group ends that has not begun')
      }
      this.skip(inner, tag % 8, end, depth + 1)
    }
    throw malformed(this.source, this.pos, 'a group has no end')
  }
}

/** A growing run of bytes. */
export class ByteBuilder {
  length = 0
  private buffer: Uint8Array

  constructor(capacity = 1024) {
    this.buffer = new Uint8Array(capacity)
  }

  push(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    this.buffer.set(bytes, this.length)
    this.length += bytes.length
  }

  varint(value: number): void {
    this.push(encodeVarint(value))
  }

  /** Room for a length that is not known yet: five bytes, however small it will be. */
  openLength(): number {
    this.reserve(5)
    this.length += 5
    return this.length
  }

  /** Fills in the length of what was written since `openLength` returned `start`. */
  closeLength(start: number): void {
    let value = this.length - start
    for (let i = 5; i > 1; i -= 1) {
      this.buffer[start - i] = (value & 127) | 128
      value >>>= 7
    }
    this.buffer[start - 1] = value
  }

  bytes(): Uint8Array {
    return this.buffer.subarray(0, this.length)
  }

  private reserve(more: number): void {
    if (this.length + more <= this.buffer.length) return
    const grown = new Uint8Array(Math.max(this.buffer.length * 2, this.length + more))
    grown.set(this.bytes())
    this.buffer = grown
  }
}

export function encodeVarint(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128)
  bytes.push(rest)
  return Uint8Array.from(bytes)
}

import protobuf from 'protobufjs/minimal.js'
import { VitpassError } from '../errors.ts'
import { modelCodec } from './generated/codec.ts'
import type { ModelProto } from './generated/messages.ts'
import type { Payload } from './payload.ts'
import type { Skeleton } from './skeleton.ts'

const TEXT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The library's reader with exact integers, strict text, unknown fields kept, and payloads in place of their numbers. */
class SkeletonDecoder extends protobuf.Reader {
  private readonly payloads: readonly Payload[]

  constructor({ bytes, payloads }: Skeleton) {
    super(bytes)
    this.payloads = payloads
    this.discardUnknown = false
  }

  // @ts-expect-error: the library's type is Long or number; the generated code stores what it is given.
  override int64(): bigint {
    let low = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.octet()
      low |= (byte & 127) << shift
      if (byte < 128) return BigInt(low)
    }
    let value = BigInt(low)
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = this.octet()
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return BigInt.asIntN(64, value)
    }
    throw new RangeError('an integer has more than ten bytes')
  }

  // @ts-expect-error: as int64.
  override int64s(array: bigint[] = []): bigint[] {
    const end = this.size() + this.pos
    const { len } = this
    if (end > len) throw new RangeError('a packed field is longer than its message')
    this.len = end
    while (this.pos < end) array.push(this.int64())
    this.len = len
    return array
  }

  // @ts-expect-error: the generated code stores what it is given.
  override sfixed64(): Payload {
    const payload = this.payloads[this.fixed32()]
    this.fixed32()
    if (payload === undefined) throw new RangeError('a payload does not exist')
    return payload
  }

  override string(): string {
    const length = this.size()
    const start = this.pos
    if (start + length > this.len) throw new RangeError('a text is longer than its message')
    this.pos += length
    return TEXT.decode(this.buf.subarray(start, this.pos))
  }

  private octet(): number {
    const byte = this.pos < this.len ? this.buf[this.pos] : undefined
    if (byte === undefined) throw new RangeError('an integer is cut off')
    this.pos += 1
    return byte
  }
}

/** The library's writer with exact integers; payloads are collected and written as their numbers. */
class SkeletonEncoder extends protobuf.Writer {
  readonly payloads: Payload[] = []

  // @ts-expect-error: as SkeletonDecoder.int64.
  override int64(value: bigint): this {
    let rest = BigInt.asUintN(64, value)
    if (rest < 0x80000000n) {
      this.uint32(Number(rest))
      return this
    }
    const bytes: number[] = []
    for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
    bytes.push(Number(rest))
    this.raw(Uint8Array.from(bytes))
    return this
  }

  // @ts-expect-error: as SkeletonDecoder.sfixed64.
  override sfixed64(payload: Payload): this {
    this.fixed32(this.payloads.length)
    this.fixed32(0)
    this.payloads.push(payload)
    return this
  }
}

/** @throws VitpassError MODEL_INVALID for a message that breaks the wire format or a text that is not UTF-8 */
export function decodeModel(skeleton: Skeleton, where: string): ModelProto {
  try {
    return modelCodec.decode(new SkeletonDecoder(skeleton))
  } catch (cause) {
    if (cause instanceof VitpassError) throw cause
    const text =
      cause instanceof TypeError ? 'a name or text in it is not UTF-8' : `its structure is malformed: ${String(cause)}`
    throw new VitpassError('MODEL_INVALID', text, { where, cause, remedy: 'export the model or get the file again' })
  }
}

export function encodeModel(model: ModelProto): Skeleton {
  const encoder = new SkeletonEncoder()
  modelCodec.encode(model, encoder)
  return { bytes: encoder.finish(), payloads: encoder.payloads }
}

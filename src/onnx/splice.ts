import { CONTAINERS, type Container, PAYLOAD_FIELD } from './generated/tensor-paths.ts'
import { type Payload, type Piece, payloadField, payloadPiece } from './payload.ts'
import { Cursor, encodeVarint, MemorySource } from './wire.ts'

/** The largest message that protobuf implementations read. */
export const MAX_MESSAGE = 2 ** 31 - 1

/** Puts the payloads back into an encoded skeleton: the whole model as a list of pieces, ranges of sources among them. */
export function splicePayloads(skeleton: Uint8Array, payloads: readonly Payload[]): Piece[] {
  if (payloads.length === 0) return [skeleton]
  return new Splicer(skeleton, payloads).splice('ModelProto', skeleton.length).pieces
}

export function pieceLength(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0)
}

/** A message's pieces and their length; not `changed` where it has no payload in it. */
type Spliced = { readonly pieces: Piece[]; readonly length: number; readonly changed: boolean }

class Splicer {
  private readonly skeleton: Uint8Array
  private readonly payloads: readonly Payload[]
  private readonly cursor: Cursor

  constructor(skeleton: Uint8Array, payloads: readonly Payload[]) {
    this.skeleton = skeleton
    this.payloads = payloads
    this.cursor = new Cursor(new MemorySource(skeleton))
  }

  /** The message that starts at the cursor and ends at `end`. */
  splice(type: Container, end: number): Spliced {
    const { cursor, skeleton } = this
    const inner = CONTAINERS[type]
    const pieces: Piece[] = []
    const start = cursor.pos
    let kept = start
    let length = end - start
    const replace = (from: number, to: number, ...by: readonly Piece[]): void => {
      if (from > kept) pieces.push(skeleton.subarray(kept, from))
      pieces.push(...by)
      length += pieceLength(by) - (to - from)
      kept = to
    }
    while (cursor.pos < end) {
      const at = cursor.pos
      const tag = cursor.varint()
      const field = Math.floor(tag / 8)
      const child = tag % 8 === 2 ? inner.get(field) : undefined
      if (child !== undefined) {
        const prefix = cursor.pos
        const stop = cursor.fieldEnd(end)
        const spliced = this.splice(child, stop)
        cursor.pos = stop
        if (spliced.changed) {
          replace(prefix, stop, encodeVarint(spliced.length))
          for (const piece of spliced.pieces) pieces.push(piece)
          length += spliced.length
        }
      } else if (type === 'TensorProto' && field === PAYLOAD_FIELD) {
        const payload = this.payloads[new DataView(skeleton.buffer, skeleton.byteOffset).getUint32(cursor.pos, true)]
        cursor.pos += 8
        if (payload !== undefined) {
          const piece = payloadPiece(payload)
          replace(at, cursor.pos, encodeVarint(payloadField(payload) * 8 + 2), encodeVarint(piece.length), piece)
        }
      } else cursor.skip(field, tag % 8, end)
    }
    const changed = kept > start
    if (end > kept) pieces.push(skeleton.subarray(kept, end))
    return { pieces, length, changed }
  }
}

import { dtypeBits } from '../ir/dtype.ts'
import { elementCount, type Tensor } from '../ir/tensor.ts'
import { rawBytes } from '../ir/tensor-data.ts'
import { type Piece, payloadPiece } from '../onnx/payload.ts'

/** A hash in the making; the digest is any text that equal bytes share and different bytes do not. */
export interface Digest {
  update(bytes: Uint8Array): void
  digest(): string
}

/** Parts of a file that are read at a time. */
const CHUNK = 1024 * 1024

const encoder = new TextEncoder()

/** Makes keys of texts and tensors: equal keys mean equal content. Weights are read in parts and not kept. */
export class ContentKeys {
  private readonly newDigest: () => Digest
  private readonly tensors = new Map<Tensor, string>()

  constructor(newDigest: () => Digest) {
    this.newDigest = newDigest
  }

  ofText(text: string): string {
    const digest = this.newDigest()
    digest.update(encoder.encode(text))
    return digest.digest()
  }

  /**
   * Type, dims and elements, wherever and in whichever field of the file they are stored.
   * @throws VitpassError EXTERNAL_DATA, FILE_UNREADABLE, MODEL_INVALID where the elements cannot be read
   */
  ofTensor(tensor: Tensor): string {
    const known = this.tensors.get(tensor)
    if (known !== undefined) return known
    const digest = this.newDigest()
    digest.update(encoder.encode(`${tensor.dtype} ${tensor.dims.join(' ')}\n`))
    for (const part of parts(tensor)) digest.update(part)
    const key = `tensor ${digest.digest()}`
    this.tensors.set(tensor, key)
    return key
  }
}

/** Size of a tensor's elements as `raw_data` has them; of strings, their bytes. */
export function tensorBytes({ dtype, dims, storage }: Tensor): number {
  if (storage.kind === 'strings') return storage.values.reduce((sum, { length }) => sum + length, 0)
  return Math.ceil((elementCount(dims) * (dtypeBits(dtype) ?? 0)) / 8)
}

function* parts(tensor: Tensor): Generator<Uint8Array> {
  const { storage } = tensor
  if (storage.kind === 'strings') {
    for (const value of storage.values) {
      yield encoder.encode(`${value.length}\n`)
      yield value
    }
    return
  }
  const piece = streamable(tensor) ?? rawBytes(tensor)
  if (piece instanceof Uint8Array) {
    yield piece
    return
  }
  for (let at = 0; at < piece.length; at += CHUNK) {
    yield piece.source.read(piece.offset + at, Math.min(CHUNK, piece.length - at))
  }
}

/** Where the bytes of `raw_data` lie as they are; null where they have to be made of another field. */
function streamable({ storage }: Tensor): Piece | null {
  switch (storage.kind) {
    case 'raw':
    case 'range':
      return payloadPiece(storage)
    case 'typed':
      return storage.field === 'float_data' || storage.field === 'double_data' ? payloadPiece(storage) : null
    case 'external':
      return storage.source === null ? null : { ...storage, source: storage.source }
    case 'strings':
      return null
  }
}

import { VitpassError } from '../errors.ts'
import type { ByteSource } from '../ir/tensor.ts'

const latin1 = new TextDecoder('latin1')

/** Magic numbers of what people take for an ONNX file: at an offset, and what it is. */
const SIGNATURES: readonly (readonly [offset: number, magic: string, what: string])[] = [
  [0, 'PK\x03\x04', 'a ZIP archive, as PyTorch checkpoints (.pt, .pth) and Keras files are'],
  [0, '\x80\x02', 'a Python pickle, as older PyTorch checkpoints (.pt, .pth) are'],
  [0, '\x89HDF\r\n', 'an HDF5 file, as Keras weights are'],
  [4, 'ORTM', 'in the ORT format'],
  [4, 'TFL3', 'a TensorFlow Lite model'],
  [0, 'GGUF', 'a GGUF file'],
  [0, '\x1f\x8b', 'compressed by gzip'],
  [0, 'version https://git-lfs', 'a Git LFS pointer: the file itself has not been fetched (git lfs pull)'],
]

/** Fields of `ModelProto` by wire type. */
const MODEL_FIELDS: Readonly<Record<number, readonly number[]>> = { 0: [1, 5], 2: [2, 3, 4, 6, 7, 8, 14, 20, 25, 26] }

/** @throws VitpassError NOT_ONNX for an empty file and for what plainly is something else */
export function refuseOtherFormats(source: ByteSource): void {
  const head = source.read(0, Math.min(512, source.size))
  const what = otherFormat(head, source.size)
  if (what === null) return
  throw new VitpassError('NOT_ONNX', `this is no ONNX model: it is ${what}`, {
    where: source.name,
    remedy: 'give the .onnx file of a model',
  })
}

function otherFormat(head: Uint8Array, size: number): string | null {
  if (head.length === 0) return 'empty'
  const text = latin1.decode(head)
  for (const [offset, magic, what] of SIGNATURES) if (text.startsWith(magic, offset)) return what
  if (isSafetensors(head, size)) return 'a safetensors file, which has weights and no graph'
  if (/^\s*[{[]/.test(text) && isText(head)) return 'JSON'
  if (isText(head)) return 'text'
  const first = head[0] ?? 0
  return MODEL_FIELDS[first & 7]?.includes(first >> 3) ? null : 'in a format that does not start as ONNX does'
}

function isText(head: Uint8Array): boolean {
  return head.every((byte) => byte >= 32 || byte === 9 || byte === 10 || byte === 13)
}

/** Eight bytes of header length, then JSON. */
function isSafetensors(head: Uint8Array, size: number): boolean {
  if (head.length < 9 || head[8] !== 0x7b) return false
  const length = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true)
  return length > 1n && length + 8n <= BigInt(size)
}

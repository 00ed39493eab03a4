import { readFileSync } from 'node:fs'
import { fromHalves } from './float16.ts'

/** A dense array of numbers, row-major. */
export interface Dense {
  readonly data: Float32Array
  readonly dims: readonly number[]
}

interface Entry {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly data_offsets: readonly [number, number]
}

/**
 * Every tensor of a safetensors file, as float32.
 * @throws Error for a file of another form, or another element type
 */
export function readSafetensors(path: string): Map<string, Dense> {
  const file = readFileSync(path)
  const headerLength = Number(file.readBigUInt64LE(0))
  const start = 8 + headerLength
  const header: Record<string, Entry> = JSON.parse(file.toString('utf8', 8, start))
  const tensors = new Map<string, Dense>()
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const [from, to] = entry.data_offsets
    // A copy, so that the typed array below starts on a boundary of its element size.
    const bytes = new Uint8Array(file.subarray(start + from, start + to)).buffer
    tensors.set(name, { data: decode(entry.dtype, bytes, `${path}: ${name}`), dims: entry.shape })
  }
  return tensors
}

function decode(dtype: string, bytes: ArrayBuffer, where: string): Float32Array {
  if (dtype === 'F32') return new Float32Array(bytes)
  if (dtype === 'F16') return fromHalves(new Uint16Array(bytes))
  if (dtype === 'F64') return Float32Array.from(new Float64Array(bytes))
  if (dtype === 'U8') return Float32Array.from(new Uint8Array(bytes))
  throw new Error(`${where} has element type ${dtype}; this reader knows F64, F32, F16 and U8`)
}

import { readFileSync } from 'node:fs'
import { VitpassError } from '../errors.ts'
import { fromFloat16Bits } from '../ir/float-bits.ts'
import type { Dense } from '../runtime/session.ts'

interface Entry {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly data_offsets: readonly [number, number]
}

/**
 * Every tensor of a safetensors file, as float32, by name.
 * @throws VitpassError FILE_UNREADABLE; CONFIG_INVALID for a file of another form, or another element type than F64, F32, F16 and U8
 */
export function readSafetensors(path: string): Map<string, Dense> {
  let file: Buffer
  try {
    file = readFileSync(path)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new VitpassError('FILE_UNREADABLE', `it cannot be read (${why})`, { where: path, cause })
  }
  const length = file.length < 8 ? -1n : file.readBigUInt64LE(0)
  if (length < 2n || length > BigInt(file.length - 8)) throw invalid(path, 'it is no safetensors file, or is cut off')
  const start = 8 + Number(length)
  const tensors = new Map<string, Dense>()
  for (const [name, entry] of Object.entries(readHeader(file.toString('utf8', 8, start), path))) {
    if (name === '__metadata__') continue
    if (!isEntry(entry)) throw invalid(path, `the header does not tell where tensor ${name} lies`)
    const [from, to] = entry.data_offsets
    if (from > to || start + to > file.length) throw invalid(path, `tensor ${name} lies beyond the end of the file`)
    // A copy, so that the typed array below starts on a boundary of its element size.
    const data = decode(entry.dtype, new Uint8Array(file.subarray(start + from, start + to)).buffer)
    if (data === null) throw invalid(path, `tensor ${name} has element type ${entry.dtype}, not F64, F32, F16 or U8`)
    if (data.length !== entry.shape.reduce((product, dim) => product * dim, 1)) {
      throw invalid(path, `tensor ${name} has ${data.length} elements, not [${entry.shape.join(', ')}]`)
    }
    tensors.set(name, { data, dims: entry.shape })
  }
  return tensors
}

/** Tensors as the bytes of a safetensors file, float32 all, in the order given. */
export function toSafetensors(tensors: ReadonlyMap<string, Dense>): Uint8Array {
  const header: Record<string, Entry> = {}
  let end = 0
  for (const [name, { data, dims }] of tensors) {
    header[name] = { dtype: 'F32', shape: dims, data_offsets: [end, end + 4 * data.length] }
    end += 4 * data.length
  }
  const text = Buffer.from(JSON.stringify(header))
  const start = 8 + Math.ceil(text.length / 8) * 8
  const file = Buffer.alloc(start + end, ' ')
  file.writeBigUInt64LE(BigInt(start - 8), 0)
  text.copy(file, 8)
  let at = start
  for (const { data } of tensors.values()) for (const value of data) at = file.writeFloatLE(value, at)
  return file
}

function readHeader(text: string, path: string): object {
  try {
    const header: unknown = JSON.parse(text)
    if (typeof header === 'object' && header !== null) return header
  } catch {
    // Told below, as for JSON of another kind.
  }
  throw invalid(path, 'its header is not JSON')
}

function isEntry(entry: unknown): entry is Entry {
  if (typeof entry !== 'object' || entry === null) return false
  const { dtype, shape, data_offsets } = entry as Partial<Record<keyof Entry, unknown>>
  const whole = (list: unknown): boolean =>
    Array.isArray(list) && list.every((value) => Number.isSafeInteger(value) && value >= 0)
  return typeof dtype === 'string' && whole(shape) && whole(data_offsets) && (data_offsets as unknown[]).length === 2
}

function decode(dtype: string, bytes: ArrayBuffer): Float32Array | null {
  const size = { F64: 8, F32: 4, F16: 2, U8: 1 }[dtype]
  if (size === undefined || bytes.byteLength % size !== 0) return null
  if (dtype === 'F32') return new Float32Array(bytes)
  if (dtype === 'F16') return Float32Array.from(new Uint16Array(bytes), fromFloat16Bits)
  return Float32Array.from(dtype === 'F64' ? new Float64Array(bytes) : new Uint8Array(bytes))
}

function invalid(where: string, message: string): VitpassError {
  return new VitpassError('CONFIG_INVALID', message, { where, remedy: 'write the file again' })
}

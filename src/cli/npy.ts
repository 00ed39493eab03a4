import { VitpassError } from '../errors.ts'
import { fromFloat16Bits } from '../ir/float-bits.ts'

/** A dense array of numbers, row-major. */
export interface NpyArray {
  readonly dims: readonly number[]
  readonly data: ArrayLike<number>
}

/**
 * Reads NumPy's .npy format (versions 1 to 3): little-endian floats of 16, 32 or 64 bits in C order.
 * @throws VitpassError USAGE for anything else
 */
export function parseNpy(bytes: Uint8Array, path: string): NpyArray {
  const refuse = (found: string): never => {
    throw new VitpassError('USAGE', `${path} ${found}`, { remedy: 'write floats in C order with numpy.save' })
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]
  if (bytes.length < 12 || magic.some((byte, i) => bytes[i] !== byte)) return refuse('is no .npy file')
  const wide = (bytes[6] ?? 0) > 1
  const start = wide ? 12 : 10
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true)
  const header = new TextDecoder().decode(bytes.subarray(start, start + length))
  const [, kind = ''] = /'descr':\s*'([^']*)'/.exec(header) ?? []
  const [, shape = null] = /'shape':\s*\(([^)]*)\)/.exec(header) ?? []
  const width = { '<f2': 2, '<f4': 4, '<f8': 8 }[kind]
  if (width === undefined) return refuse(`holds ${kind || 'an unknown type'}`)
  if (shape === null || /'fortran_order':\s*True/.test(header)) return refuse('is not in C order')
  const dims = shape
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(Number)
  const count = dims.reduce((n, dim) => n * dim, 1)
  const at = start + length
  if (!Number.isSafeInteger(count) || bytes.length - at !== count * width)
    return refuse('has another length than its shape says')
  const data = new Uint8Array(bytes.subarray(at)).buffer
  if (kind === '<f8') return { dims, data: new Float64Array(data) }
  return { dims, data: kind === '<f4' ? new Float32Array(data) : Array.from(new Uint16Array(data), fromFloat16Bits) }
}

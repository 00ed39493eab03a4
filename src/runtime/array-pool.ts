import type { HostArrays, HostType } from './strategy.ts'

type Make = { readonly [T in HostType]: (buffer: ArrayBuffer, length: number) => HostArrays[T] }

const MAKE: Make = {
  float32: (buffer, length) => new Float32Array(buffer, 0, length),
  float64: (buffer, length) => new Float64Array(buffer, 0, length),
  float16: (buffer, length) => new Uint16Array(buffer, 0, length),
  int64: (buffer, length) => new BigInt64Array(buffer, 0, length),
  int32: (buffer, length) => new Int32Array(buffer, 0, length),
  uint8: (buffer, length) => new Uint8Array(buffer, 0, length),
  int8: (buffer, length) => new Int8Array(buffer, 0, length),
  bool: (buffer, length) => new Uint8Array(buffer, 0, length),
}

const BYTES: Readonly<Record<HostType, number>> = {
  float32: 4,
  float64: 8,
  float16: 2,
  int64: 8,
  int32: 4,
  uint8: 1,
  int8: 1,
  bool: 1,
}

/** Smaller ones are not worth keeping. */
const LEAST_BYTES = 4096

/** Buffers that come back from the threads and are used again: fresh memory costs the system more than writing to it. */
export class ArrayPool {
  private readonly free: ArrayBuffer[] = []
  private readonly mostBytes: number
  private bytes = 0

  /** @param mostBytes what may lie unused at once */
  constructor(mostBytes: number) {
    this.mostBytes = mostBytes
  }

  /** An array of zeros. */
  readonly allocate = <T extends HostType>(type: T, length: number): HostArrays[T] => {
    const bytes = length * BYTES[type]
    const at = this.free.findIndex((buffer) => buffer.byteLength >= bytes && buffer.byteLength <= 2 * bytes)
    const [found] = at < 0 ? [] : this.free.splice(at, 1)
    if (found === undefined) return MAKE[type](new ArrayBuffer(roundedUp(bytes)), length)
    this.bytes -= found.byteLength
    const array = MAKE[type](found, length)
    new Uint8Array(found, 0, bytes).fill(0)
    return array
  }

  /** Takes a buffer that nobody uses any more. */
  release(buffer: ArrayBuffer): void {
    if (buffer.byteLength < LEAST_BYTES || this.bytes + buffer.byteLength > this.mostBytes) return
    this.free.push(buffer)
    this.bytes += buffer.byteLength
  }
}

/** To an eighth of the power of two below, so that batches of nearly equal size share buffers. */
function roundedUp(bytes: number): number {
  const step = Math.max(LEAST_BYTES, 2 ** Math.floor(Math.log2(Math.max(bytes, 1))) / 8)
  return Math.ceil(bytes / step) * step
}

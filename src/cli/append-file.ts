import { closeSync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { VitpassError } from '../errors.ts'

/** Bytes that are gathered before a write. */
const CHUNK = 256 * 1024

/** A file that grows at its end, and whose beginning can be written again. Errors name the file. */
export class AppendFile {
  readonly path: string
  private readonly descriptor: number
  private readonly buffer = new Uint8Array(CHUNK)
  private filled = 0
  private end: number
  private closed = false

  /**
   * @param keep how many bytes of an existing file stay; 0 begins anew
   * @throws VitpassError FILE_UNWRITABLE
   */
  constructor(path: string, keep = 0) {
    this.path = path
    this.end = keep
    this.descriptor = this.guard(() => openSync(path, keep === 0 ? 'w' : 'r+'))
    if (keep > 0) this.guard(() => ftruncateSync(this.descriptor, keep))
  }

  /** Bytes in the file and in the buffer. */
  get length(): number {
    return this.end + this.filled
  }

  append(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + CHUNK - this.filled)
      this.buffer.set(part, this.filled)
      this.filled += part.length
      at += part.length
      if (this.filled === CHUNK) this.flush()
    }
  }

  /** Writes over the beginning, which is no longer than what is there. */
  patch(bytes: Uint8Array): void {
    this.flush()
    this.write(bytes, 0)
  }

  flush(): void {
    if (this.closed) return
    this.write(this.buffer.subarray(0, this.filled), this.end)
    this.end += this.filled
    this.filled = 0
  }

  /** Writes what is left and closes the file; `durable` waits for the disk. */
  close(durable = false): void {
    if (this.closed) return
    this.flush()
    if (durable) this.guard(() => fsyncSync(this.descriptor))
    this.closed = true
    closeSync(this.descriptor)
  }

  private write(bytes: Uint8Array, position: number): void {
    for (let at = 0; at < bytes.length; ) {
      at += this.guard(() => writeSync(this.descriptor, bytes, at, bytes.length - at, position + at))
    }
  }

  private guard<T>(work: () => T): T {
    try {
      return work()
    } catch (cause) {
      const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
      throw new VitpassError('FILE_UNWRITABLE', `it cannot be written (${code})`, {
        where: this.path,
        remedy: 'make room or choose another output',
        cause,
      })
    }
  }
}

import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs'
import { VitpassError } from '../errors.ts'
import type { ByteSource } from '../ir/tensor.ts'
import { outside } from './wire.ts'

/** The most that one read call takes on any system. */
const MAX_READ = 2 ** 30

/** Files up to this size are read whole and closed at once, so that a program can hold many of them. */
const IN_MEMORY = 1024 * 1024

const closer = new FinalizationRegistry<number>((descriptor) => closeSync(descriptor))

/**
 * A file that stays open, so that it can be read as it was even after another has taken its name. It is closed when nothing refers
 * to it any more. A small one is kept in memory instead.
 */
export class FileSource implements ByteSource {
  readonly name: string
  readonly size: number
  private readonly descriptor: number
  private readonly stats: Stats
  private readonly content: Uint8Array | null

  private constructor(name: string, descriptor: number, stats: Stats) {
    this.name = name
    this.size = stats.size
    this.descriptor = descriptor
    this.stats = stats
    this.content = null
    if (stats.isFile() && stats.size <= IN_MEMORY) {
      const content = new Uint8Array(stats.size)
      this.readInto(content, 0)
      this.content = content
    }
    if (this.content === null) closer.register(this, descriptor)
    else closeSync(descriptor)
  }

  /** Opens a file; `follow` is false where a symbolic link in the last place is to be refused. Errors of the system pass through. */
  static open(path: string, { follow = true }: { readonly follow?: boolean } = {}): FileSource {
    // Opening a pipe must not wait for someone to write to it; not every system has these flags.
    const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (follow ? 0 : (constants.O_NOFOLLOW ?? 0))
    const descriptor = openSync(path, flags)
    try {
      return new FileSource(path, descriptor, fstatSync(descriptor))
    } catch (error) {
      closeSync(descriptor)
      throw error
    }
  }

  get isFile(): boolean {
    return this.stats.isFile()
  }

  /** How many names the file has. */
  get links(): number {
    return this.stats.nlink
  }

  isSameFile(other: Stats): boolean {
    return this.stats.ino === other.ino && this.stats.dev === other.dev
  }

  read(offset: number, length: number): Uint8Array {
    if (offset < 0 || length < 0 || offset + length > this.size) throw outside(this, offset, length)
    if (this.content !== null) return this.content.subarray(offset, offset + length)
    const bytes = new Uint8Array(length)
    this.readInto(bytes, offset)
    return bytes
  }

  /** Fills `target` with the bytes from `offset` on. @throws VitpassError FILE_UNREADABLE when the file no longer has them */
  readInto(target: Uint8Array, offset: number): void {
    if (this.content !== null) {
      target.set(this.content.subarray(offset, offset + target.length))
      return
    }
    for (let done = 0; done < target.length; ) {
      const read = this.readSome(target, done, offset + done)
      if (read === 0) throw this.changed()
      done += read
    }
  }

  /** @throws VitpassError FILE_UNREADABLE when the file's content has been changed since it was opened */
  assertUnchanged(): void {
    if (this.content !== null) return
    const now = fstatSync(this.descriptor)
    if (now.size !== this.stats.size || now.mtimeMs !== this.stats.mtimeMs) throw this.changed()
  }

  private readSome(target: Uint8Array, at: number, offset: number): number {
    try {
      return readSync(this.descriptor, target, at, Math.min(target.length - at, MAX_READ), offset)
    } catch (cause) {
      throw new VitpassError('FILE_UNREADABLE', 'the file cannot be read', { where: this.name, cause })
    }
  }

  private changed(): VitpassError {
    return new VitpassError('FILE_UNREADABLE', 'the file was changed while it was in use', {
      where: this.name,
      remedy: 'run again, once nothing writes to it any more',
    })
  }
}

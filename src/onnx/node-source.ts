import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs'
import { VitpassError } from '../errors.ts'
import type { ByteSource } from '../ir/tensor.ts'
import { outside } from './wire.ts'

/** The most that one read call takes on any system. */
const MAX_READ = 2 ** 30

const closer = new FinalizationRegistry<number>((descriptor) => closeSync(descriptor))

/**
 * A file that stays open, so that it can be read as it was even after another has taken its name. It is closed when nothing refers
 * to it any more.
 */
export class FileSource implements ByteSource {
  readonly name: string
  readonly size: number
  private readonly descriptor: number
  private readonly stats: Stats

  private constructor(name: string, descriptor: number, stats: Stats) {
    this.name = name
    this.size = stats.size
    this.descriptor = descriptor
    this.stats = stats
    closer.register(this, descriptor)
  }

  /** Opens a file; `follow` is false where a symbolic link in the last place is to be refused. Errors of the system pass through. */
  static open(path: string, { follow = true }: { readonly follow?: boolean } = {}): FileSource {
    const descriptor = openSync(path, follow ? constants.O_RDONLY : constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
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
    const bytes = new Uint8Array(length)
    this.readInto(bytes, offset)
    return bytes
  }

  /** Fills `target` with the bytes from `offset` on. @throws VitpassError FILE_UNREADABLE when the file no longer has them */
  readInto(target: Uint8Array, offset: number): void {
    for (let done = 0; done < target.length; ) {
      const read = this.readSome(target, done, offset + done)
      if (read === 0) throw this.changed()
      done += read
    }
  }

  /** @throws VitpassError FILE_UNREADABLE when the file's content has been changed since it was opened */
  assertUnchanged(): void {
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

import { closeSync, fsyncSync, openSync, renameSync, rmSync, write } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { VitpassError } from '../errors.ts'
import { onInterrupt } from './node-interrupt.ts'
import { FileSource } from './node-source.ts'
import type { Piece } from './payload.ts'

export interface NewFile {
  readonly path: string
  readonly pieces: readonly Piece[]
}

interface ReplaceOptions {
  readonly onProgress?: (done: number, total: number) => void
  readonly durable?: boolean
  /** The path as the user gave it, for messages. */
  readonly shown: string
  /** Called when everything is written and nothing is renamed yet; throws to give up. */
  readonly check: () => void
}

/** Bytes that are gathered before a write; four times as much is slower. */
const CHUNK = 1024 * 1024

/**
 * Writes every file to a temporary one beside its place, then renames them all. On any failure, and on SIGINT and SIGTERM, the temporary files go
 * and the old files stay.
 * @throws VitpassError FILE_UNWRITABLE
 */
export async function replaceFiles(files: readonly NewFile[], options: ReplaceOptions): Promise<void> {
  const token = `${process.pid.toString(36)}${Math.random().toString(36).slice(2, 8)}`
  const temporary = files.map(({ path }) => join(dirname(path), `.${basename(path)}.${token}.tmp`))
  const made: string[] = []
  const cleanUp = (): void => {
    for (const path of made) rmSync(path, { force: true })
  }
  const release = onInterrupt(cleanUp)
  try {
    const progress = new Progress(files, options.onProgress)
    for (const [index, file] of files.entries()) {
      const path = temporary[index]
      if (path === undefined) continue
      const descriptor = openSync(path, 'wx')
      made.push(path)
      await writeFile(descriptor, file.pieces, options.durable === true, progress)
    }
    options.check()
    renameAll(files, temporary, token)
    if (options.durable) for (const folder of new Set(files.map(({ path }) => dirname(path)))) syncFolder(folder)
  } catch (cause) {
    cleanUp()
    throw cause instanceof VitpassError ? cause : unwritable(options.shown, cause)
  } finally {
    release()
  }
}

class Progress {
  private done = 0
  private readonly total: number
  private readonly report: ((done: number, total: number) => void) | undefined

  constructor(files: readonly NewFile[], report: ((done: number, total: number) => void) | undefined) {
    this.total = files.reduce((sum, file) => file.pieces.reduce((all, piece) => all + piece.length, sum), 0)
    this.report = report
  }

  add(bytes: number): void {
    this.done += bytes
    this.report?.(this.done, this.total)
  }
}

/** One chunk is gathered while the one before is being written. */
async function writeFile(
  descriptor: number,
  pieces: readonly Piece[],
  durable: boolean,
  progress: Progress,
): Promise<void> {
  const buffers = [new Uint8Array(CHUNK), new Uint8Array(CHUNK)] as const
  let writing: Promise<void> | undefined
  let turn: 0 | 1 = 0
  let filled = 0
  const flush = async (): Promise<void> => {
    const chunk = buffers[turn].subarray(0, filled)
    turn = turn === 0 ? 1 : 0
    filled = 0
    await writing
    progress.add(chunk.length)
    writing = writeAll(descriptor, chunk)
  }
  try {
    for (const piece of pieces) {
      for (let at = 0; at < piece.length; ) {
        const part = buffers[turn].subarray(filled, filled + Math.min(piece.length - at, CHUNK - filled))
        copyPart(piece, at, part)
        at += part.length
        filled += part.length
        if (filled === CHUNK) await flush()
      }
    }
    await flush()
    await writing
    if (durable) fsyncSync(descriptor)
  } finally {
    await writing?.catch(() => undefined)
    closeSync(descriptor)
  }
}

const writeSome = promisify(write)

async function writeAll(descriptor: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await writeSome(descriptor, bytes, at, bytes.length - at)).bytesWritten
}

function copyPart(piece: Piece, at: number, into: Uint8Array): void {
  if (piece instanceof Uint8Array) into.set(piece.subarray(at, at + into.length))
  else if (piece.source instanceof FileSource) piece.source.readInto(into, piece.offset + at)
  else into.set(piece.source.read(piece.offset + at, into.length))
}

/** Old files are kept aside until every new one stands in its place. */
function renameAll(files: readonly NewFile[], temporary: readonly string[], token: string): void {
  const undo: (() => void)[] = []
  const kept: string[] = []
  try {
    for (const [index, { path }] of files.entries()) {
      const from = temporary[index]
      if (from === undefined) continue
      // The last rename puts the new file over the old in one step; those before it must be undoable.
      if (index < files.length - 1) {
        const aside = join(dirname(path), `.${basename(path)}.${token}.old`)
        if (renameIfThere(path, aside)) {
          kept.push(aside)
          undo.unshift(() => renameSync(aside, path))
        } else undo.unshift(() => rmSync(path, { force: true }))
      }
      renameSync(from, path)
    }
  } catch (error) {
    for (const step of undo) step()
    throw error
  }
  for (const path of kept) rmSync(path, { force: true })
}

function renameIfThere(from: string, to: string): boolean {
  try {
    renameSync(from, to)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false
    throw error
  }
}

function syncFolder(path: string): void {
  if (process.platform === 'win32') return
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

const REASONS: Readonly<Record<string, readonly [what: string, remedy: string]>> = {
  ENOSPC: ['the disk is full', 'make room or choose another disk'],
  EDQUOT: ['the disk quota is used up', 'make room or choose another disk'],
  EFBIG: ['the file is larger than this file system or process may write', 'choose another disk or raise the limit'],
  EACCES: ['there is no permission to write here', 'choose another folder or change its permissions'],
  EPERM: ['there is no permission to write here', 'choose another folder or change its permissions'],
  EROFS: ['the file system is read-only', 'choose another folder'],
  ENOENT: ['the folder does not exist', 'make the folder first'],
  ENOTDIR: ['a part of the path is no folder', 'check the path'],
  EISDIR: ['this is a folder', 'give the name of a file in it'],
}

function unwritable(path: string, cause: unknown): VitpassError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
  const [what, remedy] = REASONS[code] ?? [`the file cannot be written (${code})`, 'choose another output']
  return new VitpassError('FILE_UNWRITABLE', what, { where: path, remedy, cause })
}

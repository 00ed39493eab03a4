import { existsSync, statSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { VitpassError } from '../errors.ts'
import type { Model } from '../ir/model.ts'
import { planExternal } from './external-layout.ts'
import { type NewFile, replaceFiles } from './node-replace.ts'
import { FileSource } from './node-source.ts'
import { serializePieces } from './serialize.ts'

export interface WriteOptions {
  /** Called while bytes are written, with how many of how many; often enough for a progress bar. */
  readonly onProgress?: (done: number, total: number) => void
  /** Waits until the disk has the bytes. Default false: the files are whole, and a crash of the machine may undo them. */
  readonly durable?: boolean
  /** May the very file that the model was read from be replaced? Default false. Any other file is replaced. */
  readonly overwrite?: boolean
}

/**
 * Writes a model, external data into one file beside it, named `<file name>.data`. Both appear whole or not at all, and the data file that
 * the model was read from is never written over.
 * @throws VitpassError FILE_UNWRITABLE, FILE_UNREADABLE (the source changed), EXTERNAL_DATA, MODEL_UNSUPPORTED
 */
export async function writeModel(model: Model, path: string, options: WriteOptions = {}): Promise<void> {
  const target = resolve(path)
  if (!options.overwrite && isFileOf(model.source, target)) {
    throw new VitpassError('FILE_UNWRITABLE', 'this is the file that the model was read from', {
      where: path,
      remedy: 'choose another output, or allow it to be overwritten',
    })
  }
  if (existsSync(target) && !statSync(target).isFile()) {
    throw new VitpassError('FILE_UNWRITABLE', 'this is a folder or a device, not a file', {
      where: path,
      remedy: 'give the name of a file',
    })
  }
  const sources = new Set<FileSource>()
  if (model.source instanceof FileSource) sources.add(model.source)
  const external = planExternal(model, (taken) => dataName(target, taken))
  for (const source of external.sources) if (source instanceof FileSource) sources.add(source)
  if (external.sources.some((source) => isFileOf(source, target))) {
    throw new VitpassError('FILE_UNWRITABLE', 'this is a data file of the model itself', {
      where: path,
      remedy: 'choose another output',
    })
  }
  const check = (): void => {
    for (const source of sources) source.assertUnchanged()
  }
  check()
  const files: NewFile[] = [{ path: target, pieces: serializePieces(model, external.relocate) }]
  if (external.pieces.length > 0)
    files.unshift({ path: resolve(dirname(target), external.location), pieces: external.pieces })
  await replaceFiles(files, { ...options, shown: path, check })
}

function isFileOf(source: unknown, path: string): boolean {
  return source instanceof FileSource && existsSync(path) && source.isSameFile(statSync(path))
}

/** `<file name>.data`, or with a number where that is a data file of the model itself. */
function dataName(target: string, taken: readonly unknown[]): string {
  const base = basename(target)
  for (let i = 0; ; i += 1) {
    const name = i === 0 ? `${base}.data` : `${base}.${i}.data`
    if (!taken.some((source) => isFileOf(source, resolve(dirname(target), name)))) return name
  }
}

import { lstatSync, realpathSync } from 'node:fs'
import { join, sep } from 'node:path'
import { VitpassError } from '../errors.ts'
import { FileSource } from './node-source.ts'
import type { OpenExternal } from './parse-tensor.ts'
import { printable } from './printable.ts'

/**
 * Opens the external data files of a model, each once. A location comes from the file and is not to be trusted: it must lead to a plain
 * file inside the model's folder, without symbolic links on the way and without a second name.
 */
export function externalFiles(folder: string, model: string): NonNullable<OpenExternal> {
  const opened = new Map<string, FileSource>()
  return (location, tensor) => {
    const known = opened.get(location)
    if (known !== undefined) return known
    const source = openChecked(folder, location, tensor, model)
    opened.set(location, source)
    return source
  }
}

function openChecked(folder: string, location: string, tensor: string, model: string): FileSource {
  const refuse = (what: string, remedy: string, cause?: unknown): VitpassError =>
    new VitpassError('EXTERNAL_DATA', printable(`the data of tensor ${tensor} is in "${location}", ${what}`), {
      where: model,
      remedy,
      ...(cause === undefined ? {} : { cause }),
    })
  const inside = 'put the data file into the folder of the model, as a plain file'
  const steps = location.split('/').filter((step) => step !== '' && step !== '.')
  const absolute = location.startsWith('/') || /[\\\0]|^[A-Za-z]:/.test(location)
  if (absolute || steps.length === 0 || steps.includes('..'))
    throw refuse('which is not a path inside its folder', inside)
  let path = folder
  try {
    for (const step of steps) {
      path = join(path, step)
      if (lstatSync(path).isSymbolicLink()) throw refuse('and a symbolic link is on the way there', inside)
    }
    const root = realpathSync(folder)
    const real = realpathSync(path)
    if (!real.startsWith(root.endsWith(sep) ? root : root + sep)) throw refuse('which leads out of its folder', inside)
    const source = FileSource.open(path, { follow: false })
    if (!source.isFile || !source.isSameFile(lstatSync(path))) throw refuse('which is no plain file', inside)
    if (source.links > 1)
      throw refuse('a file with a second name elsewhere (a hard link)', 'copy the file, so that it is one of its own')
    return source
  } catch (cause) {
    if (cause instanceof VitpassError) throw cause
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    if (code === 'ENOENT')
      throw refuse('which does not exist', 'get the data file too and put it beside the model', cause)
    throw refuse('which cannot be read', 'check its permissions', cause)
  }
}

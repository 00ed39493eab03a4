import { type Stats, statSync } from 'node:fs'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { VitpassError } from '../errors.ts'

/** `<name>.vitpass.onnx` beside the input. */
export function defaultOutput(input: string): string {
  const extension = extname(input).toLowerCase() === '.onnx' ? extname(input) : ''
  return join(dirname(input), `${basename(input, extension)}.vitpass.onnx`)
}

/**
 * Makes sure, before any work is done, that a file can be written there and that it is not the input by mistake.
 * An existing file other than the input may be replaced.
 * @param flag the flag that names the file, for the message
 * @throws VitpassError USAGE where it is the input; FILE_UNWRITABLE for a folder or a path whose folder does not exist
 */
export function checkTarget(
  path: string,
  input: string,
  options: { readonly flag: string; readonly force: boolean },
): void {
  const existing = lookUp(path)
  if (existing !== undefined && !existing.isFile()) {
    throw new VitpassError('FILE_UNWRITABLE', 'this is a folder or a device, not a file', {
      where: path,
      remedy: `give ${options.flag} the path of a file`,
    })
  }
  if (!options.force && isSameFile(path, existing, input)) {
    const remedy = options.flag === '-o' ? 'give another path, or --force to replace the input' : 'give another path'
    throw new VitpassError('USAGE', `${options.flag} is the input itself`, { where: path, remedy })
  }
  const folder = lookUp(dirname(resolve(path)))
  if (!folder?.isDirectory()) {
    throw new VitpassError('FILE_UNWRITABLE', `the folder ${dirname(path)} does not exist`, {
      where: path,
      remedy: `make it, or give ${options.flag} another path`,
    })
  }
}

function isSameFile(path: string, existing: Stats | undefined, input: string): boolean {
  if (resolve(path) === resolve(input)) return true
  const source = lookUp(input)
  return existing !== undefined && source !== undefined && existing.dev === source.dev && existing.ino === source.ino
}

function lookUp(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch {
    // A part of the path is a file, or may not be looked into: whatever it is, there is nothing to find.
    return undefined
  }
}

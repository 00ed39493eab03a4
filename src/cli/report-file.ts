import { randomUUID } from 'node:crypto'
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { VitpassError } from '../errors.ts'

/**
 * Writes a JSON document, whole or not at all.
 * @throws VitpassError FILE_UNWRITABLE
 */
export function writeReportFile(path: string, document: object): void {
  writeTextFile(path, `${JSON.stringify(document, null, 2)}\n`, { what: 'the report', flag: '--report' })
}

/**
 * Writes a text, whole or not at all: to a file beside the target, which is then renamed.
 * @param shown what it is and the flag that names the file, for the message
 * @throws VitpassError FILE_UNWRITABLE
 */
export function writeTextFile(
  path: string,
  text: string,
  shown: { readonly what: string; readonly flag: string },
): void {
  const partial = `${path}.${randomUUID()}.tmp`
  try {
    writeFileSync(partial, text, { flag: 'wx' })
    renameSync(partial, path)
  } catch (cause) {
    rmSync(partial, { force: true })
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new VitpassError('FILE_UNWRITABLE', `${shown.what} cannot be written (${why})`, {
      where: path,
      remedy: `free some space or give ${shown.flag} another path`,
      cause,
    })
  }
}

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

/** Writes a text as `writeWholeFile`. @throws VitpassError FILE_UNWRITABLE */
export function writeTextFile(
  path: string,
  text: string,
  { what, flag }: { readonly what: string; readonly flag: string },
): void {
  writeWholeFile(path, text, { what, remedy: `free some space or give ${flag} another path` })
}

/**
 * Writes a file whole or not at all: to one beside the target, which is then renamed.
 * @param shown what it is and what to do where that fails, for the message
 * @throws VitpassError FILE_UNWRITABLE
 */
export function writeWholeFile(
  path: string,
  content: string | Uint8Array,
  shown: { readonly what: string; readonly remedy: string },
): void {
  const partial = `${path}.${randomUUID()}.tmp`
  try {
    writeFileSync(partial, content, { flag: 'wx' })
    renameSync(partial, path)
  } catch (cause) {
    rmSync(partial, { force: true })
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new VitpassError('FILE_UNWRITABLE', `${shown.what} cannot be written (${why})`, {
      where: path,
      remedy: shown.remedy,
      cause,
    })
  }
}

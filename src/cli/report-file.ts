import { randomUUID } from 'node:crypto'
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { VitpassError } from '../errors.ts'

/**
 * Writes a JSON document, whole or not at all: to a file beside the target, which is then renamed.
 * @throws VitpassError FILE_UNWRITABLE
 */
export function writeReportFile(path: string, document: object): void {
  const partial = `${path}.${randomUUID()}.tmp`
  try {
    writeFileSync(partial, `${JSON.stringify(document, null, 2)}\n`, { flag: 'wx' })
    renameSync(partial, path)
  } catch (cause) {
    rmSync(partial, { force: true })
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new VitpassError('FILE_UNWRITABLE', `the report cannot be written (${why})`, {
      where: path,
      remedy: 'free some space or give --report another path',
      cause,
    })
  }
}

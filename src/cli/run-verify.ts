import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { VitpassError } from '../errors.ts'
import type { Model } from '../ir/model.ts'
import type { VerifyReport } from '../verify/report.ts'
import { verifyWatched } from './watched-verify.ts'

/**
 * Writes the model into a folder of its own, verifies it there against the file that it was made from, and removes the folder.
 * @param output where the model is to go in the end; the folder is made beside it, or with `dryRun` among the system's temporary files
 * @throws VitpassError FILE_UNWRITABLE, and as `verifyInChild`
 */
export async function verifyBeforeWriting(
  model: Model,
  original: string,
  output: string,
  { dryRun }: { readonly dryRun: boolean },
): Promise<VerifyReport> {
  const { writeModel } = await import('../onnx/node.ts')
  const { onInterrupt } = await import('../onnx/node-interrupt.ts')
  const folder = makeFolder(dryRun ? tmpdir() : dirname(output), output)
  const cleanUp = (): void => rmSync(folder, { recursive: true, force: true })
  const release = onInterrupt(cleanUp)
  try {
    const path = join(folder, basename(output))
    await writeModel(model, path).catch((error: unknown) => Promise.reject(about(output, path, error)))
    const report = await verifyWatched(original, path).catch((error: unknown) =>
      Promise.reject(about(output, path, error)),
    )
    return { ...report, transformed: output }
  } finally {
    cleanUp()
    release()
  }
}

function makeFolder(parent: string, output: string): string {
  try {
    return mkdtempSync(join(parent, '.vitpass-'))
  } catch (cause) {
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    throw new VitpassError('FILE_UNWRITABLE', `no folder can be made beside it to verify in (${why})`, {
      where: output,
      remedy: 'free some space or choose another output',
      cause,
    })
  }
}

/** An error about the temporary file, told of the output. */
function about(output: string, path: string, error: unknown): unknown {
  if (!(error instanceof VitpassError) || error.where !== path) return error
  const { code, message, remedy } = error
  return new VitpassError(code, message, { where: output, cause: error, ...(remedy === undefined ? {} : { remedy }) })
}

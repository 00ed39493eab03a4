import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { VitpassError } from '../errors.ts'
import type { Model } from '../ir/model.ts'

/**
 * Writes a model into a folder of its own, lets it be tried there, and removes the folder, also when the process is interrupted. Errors about the
 * file are told of the output.
 * @param output where the model is to go in the end; the folder is made beside it, or with `dryRun` among the system's temporary files
 * @throws VitpassError FILE_UNWRITABLE, and as `use`
 */
export async function withTrialFile<T>(
  model: Model,
  output: string,
  { dryRun }: { readonly dryRun: boolean },
  use: (path: string) => Promise<T>,
): Promise<T> {
  const { writeModel } = await import('../onnx/node.ts')
  const { onInterrupt } = await import('../onnx/node-interrupt.ts')
  const folder = makeFolder(dryRun ? tmpdir() : dirname(output), output)
  const cleanUp = (): void => rmSync(folder, { recursive: true, force: true })
  const release = onInterrupt(cleanUp)
  const path = join(folder, basename(output))
  try {
    await writeModel(model, path)
    return await use(path)
  } catch (error) {
    throw about(output, path, error)
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
    throw new VitpassError('FILE_UNWRITABLE', `no folder can be made beside it to try it in (${why})`, {
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

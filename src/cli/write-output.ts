import { statSync } from 'node:fs'
import type { Model } from '../ir/model.ts'
import { showProgress } from './progress.ts'

/** Writes the model, with a bar on a terminal while it is large, and answers its size in bytes. @throws VitpassError as `writeModel` */
export async function writeOutput(
  model: Model,
  path: string,
  { force, durable }: { readonly force: boolean; readonly durable: boolean },
): Promise<number> {
  const { writeModel } = await import('../onnx/node.ts')
  const progress = await showProgress()
  try {
    await writeModel(model, path, { overwrite: force, durable, onProgress: progress.onProgress })
  } finally {
    progress.stop()
  }
  return statSync(path).size
}

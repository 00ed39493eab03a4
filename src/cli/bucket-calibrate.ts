import { readAnatomy } from '../analysis/anatomy.ts'
import { callerInputs } from '../analysis/pixels.ts'
import type { SizeCount } from '../batching/buckets.ts'
import { type Tokenizer, tokensOf } from '../batching/cost.ts'
import { cloneModel } from '../ir/clone.ts'
import type { Model } from '../ir/model.ts'
import { readProvenance } from '../ir/provenance.ts'
import { type Registry, runPasses } from '../pipeline/run.ts'
import type { Calibration } from '../runtime/calibrate.ts'
import { stepLine } from './step-line.ts'
import { withTrialFile } from './trial-file.ts'

/**
 * Times the model, its sizes freed, in ONNX Runtime on this machine, up to the largest of the sizes.
 * @param output where the model is to go; the file that is timed lies beside it for the while
 * @throws PassRefusedError; VitpassError RUNTIME_MISSING, RUNTIME_FAILED, FILE_UNWRITABLE
 */
export async function calibrateOn(
  registry: Registry,
  model: Model,
  sizes: readonly SizeCount[],
  { output, dryRun }: { readonly output: string; readonly dryRun: boolean },
): Promise<Calibration> {
  const freed = cloneModel(model)
  runPasses(registry, freed, ['dynshape'])
  const { input, patch, prefix } = readAnatomy(freed)
  const tokenizer: Tokenizer = { patch, prefix: prefix ?? 0 }
  const { grid } = readProvenance(freed)
  const largest =
    grid === undefined
      ? sizes.reduce((a, b) => (tokensOf(b, tokenizer) > tokensOf(a, tokenizer) ? b : a))
      : { height: grid.rows * patch.height, width: grid.cols * patch.width }
  const others = callerInputs(freed).filter((value) => value.name !== input.name)
  const trueSizes = others.find((value) => value.dtype === 'int64' && value.declaredDims?.[1] === 2)
  const inputs = { pixels: input.name, channels: input.channels, sizes: trueSizes?.name ?? null }
  const { Session } = await import('../runtime/session.ts')
  const { calibrate } = await import('../runtime/calibrate.ts')
  const line = stepLine(process.stderr)
  try {
    return await withTrialFile(freed, output, { dryRun }, async (path) => {
      const session = await Session.open(path)
      try {
        return await calibrate(session, inputs, { tokenizer, largest, fixed: grid !== undefined }, line.show)
      } finally {
        await session.close()
      }
    })
  } finally {
    line.clear()
  }
}

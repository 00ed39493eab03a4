import type { Model } from '../ir/model.ts'
import type { VerifyReport } from '../verify/report.ts'
import { withTrialFile } from './trial-file.ts'
import { verifyWatched } from './watched-verify.ts'

/**
 * Verifies a model that is to be written against the file that it was made from.
 * @param output where the model is to go in the end
 * @throws VitpassError FILE_UNWRITABLE, and as `verifyInChild`
 */
export async function verifyBeforeWriting(
  model: Model,
  original: string,
  output: string,
  { dryRun }: { readonly dryRun: boolean },
): Promise<VerifyReport> {
  const report = await withTrialFile(model, output, { dryRun }, (path) => verifyWatched(original, path))
  return { ...report, transformed: output }
}

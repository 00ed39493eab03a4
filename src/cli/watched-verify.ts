import type { VerifyReport } from '../verify/report.ts'
import type { VerifyOptions } from '../verify/verify.ts'
import { stepLine } from './step-line.ts'

/** Verifies in a process of its own and, on a terminal, shows how far it is. @throws VitpassError as `verifyInChild` */
export async function verifyWatched(
  original: string,
  transformed: string,
  options: VerifyOptions = {},
): Promise<VerifyReport> {
  const { verifyInChild } = await import('../verify/in-child.ts')
  const line = stepLine(process.stderr)
  const onStep = ({ model, doing }: { readonly model: string; readonly doing: string }): void => {
    line.show(`verifying: the ${model} model, ${doing}`)
  }
  try {
    return await verifyInChild(original, transformed, options, { onStep })
  } finally {
    line.clear()
  }
}

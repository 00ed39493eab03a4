import { registry } from '../../passes/index.ts'
import { readModel } from '../../src/onnx/node.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { sharesScale } from '../../src/verify/golden-subject.ts'
import type { ExportEntry, GoldenCase } from './cases.ts'
import { exportPath } from './cases.ts'
import { withSource } from './fixtures.ts'
import type { Measured } from './measure.ts'
import { checkProperties, type Masking } from './properties.ts'

/** The ways of masking that every export is tried with. */
export const MASKINGS: readonly Masking[] = [
  { source: 'pixels', mode: 'rect' },
  { source: 'sizes', mode: 'rect' },
  { source: 'pixels', mode: 'patch' },
]

/**
 * Runs passes over an export as it lies on disk and measures what came out.
 * @throws VitpassError what reading, the passes or writing throw
 */
export async function transformAndCheck(
  goldenCase: GoldenCase,
  entry: ExportEntry,
  passes: readonly string[],
  masking: Masking,
): Promise<Measured[]> {
  const original = exportPath(goldenCase, entry)
  const model = await readModel(original)
  const usual = masking.source === 'pixels' && masking.mode === 'rect'
  const mask = usual ? {} : { mask: { source: masking.source, mode: masking.mode } }
  const shares = sharesScale(model)
  runPasses(registry, model, passes, { ...entry.options, ...mask })
  const zeroed = passes.includes('zero') || passes.includes('padproof')
  return withSource(model, (transformed) =>
    checkProperties({ transformed, original, goldenCase, entry, masking, zeroed, sharesScale: shares }),
  )
}

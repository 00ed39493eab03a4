import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { registry } from '../../passes/index.ts'
import type { Model } from '../../src/ir/model.ts'
import { readModel, writeModel } from '../../src/onnx/node.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import type { ExportEntry, GoldenCase } from './cases.ts'
import { exportPath } from './cases.ts'
import type { Measured } from './measure.ts'
import type { ModelSource } from './ort.ts'
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
  runPasses(registry, model, passes, usual ? {} : { mask: { source: masking.source, mode: masking.mode } })
  const zeroed = passes.includes('zero') || passes.includes('padproof')
  return withRunnable(model, (transformed) =>
    checkProperties({ transformed, original, goldenCase, entry, masking, zeroed }),
  )
}

/** Gives the model to `use` as bytes, or as a file in a temporary folder where weights lie in other files. */
async function withRunnable<T>(model: Model, use: (source: ModelSource) => Promise<T>): Promise<T> {
  const external = model.graph.initializers.some((value) => value.tensor?.storage.kind === 'external')
  if (!external) return use(serializeModel(model))
  const folder = mkdtempSync(join(tmpdir(), 'vitpass-'))
  try {
    const path = join(folder, 'transformed.onnx')
    await writeModel(model, path)
    return await use(path)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

import { expect } from 'vitest'
import { registry } from '../../passes/index.ts'
import type { Model } from '../../src/ir/model.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import type { OptionsByPass } from '../../src/pipeline/options.ts'
import { PassRefusedError, runPasses } from '../../src/pipeline/run.ts'

/** Runs passes that must refuse, and checks that the model's bytes stay as they were. */
export function refused(model: Model, passes: readonly string[], options: OptionsByPass = {}): PassRefusedError {
  const before = serializeModel(model)
  let error: unknown
  try {
    runPasses(registry, model, passes, options)
  } catch (caught) {
    error = caught
  }
  if (!(error instanceof PassRefusedError)) throw error ?? new Error(`${passes} did not refuse`)
  expect(Buffer.compare(serializeModel(model), before)).toBe(0)
  return error
}

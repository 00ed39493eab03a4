import { registry } from '../passes/index.ts'
import type { Model } from './ir/model.ts'
import { type InspectReport, inspectModel } from './pipeline/inspect.ts'
import type { OptionsByPass } from './pipeline/options.ts'
import type { RunReport } from './pipeline/report.ts'
import { runPasses } from './pipeline/run.ts'

export { type ErrorCode, type ErrorDetail, VitpassError } from './errors.ts'
export type { Model } from './ir/model.ts'
export { parseModel } from './onnx/parse.ts'
export { serializeModel } from './onnx/serialize.ts'
export type { InspectReport, PassFit } from './pipeline/inspect.ts'
export type { OptionsByPass } from './pipeline/options.ts'
export type { OptionSpec, OptionValue, Pass, PassResult, Refusal } from './pipeline/pass.ts'
export type { PassReport, RefusalReport, RunReport } from './pipeline/report.ts'
export { PassRefusedError, type Registry } from './pipeline/run.ts'
export { TensorOption } from './pipeline/tensor-option.ts'

/**
 * Rewrites a model, in place, with passes and presets by name; passes that they require are added. Should one refuse or fail, the
 * model is as it was.
 *
 * @param options by pass, as in `{ mask: { source: 'sizes' } }`
 * @throws PassRefusedError when a pass does not fit the model
 * @throws VitpassError UNKNOWN_PASS, UNKNOWN_OPTION, BAD_OPTION before anything runs; PASS_BROKE_GRAPH
 */
export async function run(model: Model, passes: readonly string[], options: OptionsByPass = {}): Promise<RunReport> {
  return runPasses(registry, model, passes, options)
}

/** What a model is made of, and for each pass whether it fits, or why not. The model stays as it is. */
export function inspect(model: Model): InspectReport {
  return inspectModel(registry, model)
}

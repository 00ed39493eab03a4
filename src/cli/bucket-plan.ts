import { registry } from '../../passes/index.ts'
import { findPatchEmbedding } from '../analysis/pixels.ts'
import type { SizeCount } from '../batching/buckets.ts'
import { HINTS_KEY, readHints } from '../batching/hints.ts'
import { toPatches } from '../batching/sizes.ts'
import { VitpassError } from '../errors.ts'
import type { Model } from '../ir/model.ts'
import { findApplied, readProvenance, writeProvenance } from '../ir/provenance.ts'
import type { OptionValue } from '../pipeline/pass.ts'
import { runPasses } from '../pipeline/run.ts'
import { calibrateOn } from './bucket-calibrate.ts'
import { profileFor } from './bucket-profile.ts'
import type { BucketDocument } from './bucket-report.ts'
import type { SizeList } from './bucket-sizes.ts'

interface PlanFlags {
  readonly output: string
  readonly dryRun: boolean
  readonly most: number
  readonly batch: number
  /** Tokens in a call at most; 0 for any number. */
  readonly tokens: number
  readonly crop: boolean
  readonly calibrate: boolean
}

/**
 * Plans buckets, notes them in the model, and answers what there is to report.
 * @throws PassRefusedError; VitpassError BAD_OPTION, and as `calibrateOn`
 */
export async function planInto(
  model: Model,
  { sizes }: SizeList,
  { output, dryRun, most, batch, tokens, crop, calibrate }: PlanFlags,
): Promise<Partial<BucketDocument>> {
  const calibration = calibrate ? await calibrateOn(registry, model, sizes, { output, dryRun }) : undefined
  const options = {
    sizes: JSON.stringify(listFor(model, sizes, crop).map(({ height, width, count }) => [height, width, count])),
    buckets: '',
    most,
    batch,
    tokens,
    crop,
    cost: calibration === undefined ? 'auto' : JSON.stringify(calibration.cost),
  }
  forgetOtherPlan(model, options)
  const report = runPasses(registry, model, ['bucket'], { bucket: options })
  const hints = readHints(model.metadata.get(HINTS_KEY))
  if (hints === null) {
    throw new VitpassError('MODEL_INVALID', `its metadata hold no buckets under ${HINTS_KEY}, though they say so`, {
      remedy: 'start from the original model',
    })
  }
  const measured = calibration === undefined ? {} : { calibration }
  return { ...report, ...measured, hints, tensorrt: profileFor(model, hints.buckets) }
}

/** The sizes as the pass gets them, and notes them: in whole patches, which are far fewer. */
function listFor(model: Model, sizes: readonly SizeCount[], crop: boolean): readonly SizeCount[] {
  try {
    return toPatches(sizes, findPatchEmbedding(model), crop)
  } catch (error) {
    if (error instanceof VitpassError && error.code === 'MODEL_UNSUPPORTED') return sizes
    throw error
  }
}

/** Buckets are only noted, so that a plan for other sizes may take the place of an earlier one. */
function forgetOtherPlan(model: Model, options: Readonly<Record<string, OptionValue>>): void {
  const applied = findApplied(model, 'bucket')
  if (applied === undefined) return
  const isSame = Object.entries(options).every(([key, value]) => applied.options[key] === value)
  if (isSame && readHints(model.metadata.get(HINTS_KEY)) !== null) return
  writeProvenance(model, { passes: readProvenance(model).passes.filter(({ name }) => name !== 'bucket') })
}

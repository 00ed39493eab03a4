import { registry } from '../../passes/index.ts'
import { findPatchEmbedding } from '../analysis/pixels.ts'
import type { SizeCount } from '../batching/buckets.ts'
import type { Size } from '../batching/cost.ts'
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
import { formatCount } from './table.ts'

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
  const patch = patchOf(model)
  const planned = patch === null ? sizes : toPatches(sizes, patch, crop)
  const options = {
    sizes: JSON.stringify(planned.map(({ height, width, count }) => [height, width, count])),
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
  const advice = adviceFor(sizes, hints.patch, crop)
  return { ...report, ...measured, hints, advice, tensorrt: profileFor(model, hints.buckets) }
}

/** The model's patch size; null where it has none, which the passes will say. */
function patchOf(model: Model): Size | null {
  try {
    return findPatchEmbedding(model)
  } catch (error) {
    if (error instanceof VitpassError && error.code === 'MODEL_UNSUPPORTED') return null
    throw error
  }
}

/** What to do about images that are of no whole patches. */
function adviceFor(sizes: readonly SizeCount[], patch: Size, crop: boolean): string[] {
  const begun = sizes.filter(({ height, width }) => height % patch.height > 0 || width % patch.width > 0)
  if (crop || begun.length === 0) return []
  const images = formatCount(
    begun.reduce((sum, { count }) => sum + count, 0),
    'image',
  )
  return [
    `in ${images} the last patch is only begun: cut to whole ones, which is all that the model reads, they need less (--crop)`,
  ]
}

/** Buckets are only noted, so that a plan for other sizes may take the place of an earlier one. */
function forgetOtherPlan(model: Model, options: Readonly<Record<string, OptionValue>>): void {
  const applied = findApplied(model, 'bucket')
  if (applied === undefined) return
  const isSame = Object.entries(options).every(([key, value]) => applied.options[key] === value)
  if (isSame && readHints(model.metadata.get(HINTS_KEY)) !== null) return
  writeProvenance(model, { passes: readProvenance(model).passes.filter(({ name }) => name !== 'bucket') })
}

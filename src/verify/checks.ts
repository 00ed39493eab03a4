import { type Size, sizeText } from '../runtime/image.ts'
import { type Cast, castAbsent, castImages, isRagged } from './cast.ts'
import { type Measured, measure, type Worst } from './measure.ts'
import type { ModelFacts } from './model-facts.ts'
import { pixelNoise } from './noise.ts'
import type { CheckResult, Tolerances } from './report.ts'
import { type Actor, compareOwn, type Played, play, requireMaskedZero, type Scene, type Stage } from './scene.ts'
import { canvasOver } from './sizes.ts'
import type { Subject } from './subject.ts'

/** All that the checks are made with. */
export interface Setting {
  readonly subject: Subject
  readonly original: Stage
  readonly transformed: Stage
  readonly sizes: readonly Size[]
  /** The size at which both are compared without padding. */
  readonly native: Size
  /** Element type of the image input, in ONNX Runtime's words. */
  readonly type: string
  readonly tolerances: Tolerances
}

/** Every check in the order of the report. Never throws for what a model does: that is a result. */
export async function runChecks(setting: Setting): Promise<CheckResult[]> {
  const { subject, sizes, type } = setting
  const cast = castImages(subject, sizes, type)
  if (subject.masking === null) {
    const unpadded = []
    for (const actor of cast.actors) unpadded.push(await checkUnpadded(setting, actor))
    return [...unpadded, impossible('padded batch', null, subject.unmasked)]
  }
  const padded = await checkPadded(setting, cast)
  const [native = cast.actors[0]] = castImages(subject, [setting.native], type).actors
  return [...padded, ...(native === undefined ? [] : [await checkUnpadded(setting, native)])]
}

/** Each image of one padded batch against the original's answer for it alone; what more padding, order and company change; zeros. */
async function checkPadded(setting: Setting, cast: Cast): Promise<CheckResult[]> {
  const { subject, transformed, tolerances, sizes } = setting
  const { patch } = transformed
  const actors = [...cast.actors, ...(cast.black === null ? [] : [cast.black])]
  const canvas = canvasOver(sizes, patch, 1)
  const base: Scene = { actors, canvas, fill: padding(subject) }
  const run = await attempt(() => play(transformed, base))
  if (typeof run === 'string') return [failure('padded batch', run)]

  const results: CheckResult[] = []
  const among = async (actor: Actor): Promise<Played | string> =>
    subject.precision === 'dynamic int8' ? attempt(() => play(transformed, { ...base, actors: [actor] })) : run
  for (const actor of cast.actors) results.push(await checkAlone(setting, 'alone', actor, await among(actor)))
  if (cast.black !== null && cast.black.hidden.length === 0) {
    results.push(await checkAlone(setting, 'black patch', cast.black, await among(cast.black)))
  }

  const seen: Played[] = [run]
  const unmoved = async (check: string, scenes: readonly Scene[]): Promise<void> => {
    const measured = await measure(check, tolerances.same, async (worst) => {
      for (const scene of scenes) {
        const played = await play(transformed, scene)
        seen.push(played)
        compareOwn(worst, played, run, { relative: true })
      }
    })
    results.push(resultOf(measured, null))
  }
  await unmoved('more padding', [{ ...base, canvas: canvasOver(sizes, patch, 3) }])
  const begun = { height: canvas.height + 1, width: canvas.width + patch.width - 1 }
  await unmoved('padding of no whole patch', [{ ...base, canvas: begun }])
  await unmoved('order', [{ ...base, actors: actors.toReversed() }])
  await unmoved(
    'companions',
    actors.map((actor) => ({ ...base, actors: [actor] })),
  )
  if (subject.masking?.source === 'sizes') {
    await unmoved('noise in the padding', [{ ...base, fill: pixelNoise(setting.type, 7) }])
  }
  const empty = castAbsent(subject)
  await unmoved('beside absent images', [
    { ...base, actors: [empty, ...actors.slice(0, 2), empty, ...actors.slice(2)] },
  ])
  results.push(...(await checkZeros(setting, seen)))
  return results
}

/** Exact zeros at padded positions and for absent images, in all that was run. */
async function checkZeros({ subject }: Setting, seen: readonly Played[]): Promise<CheckResult[]> {
  const checks = { 'zero at padding': false, 'zero for absent images': true }
  if (subject.zeroed !== true) {
    const why = subject.zeroed
    return Object.keys(checks).map((check) => impossible(check, null, why))
  }
  const results: CheckResult[] = []
  for (const [check, absent] of Object.entries(checks)) {
    const measured = await measure(check, 0, async (worst) => {
      for (const played of seen) requireMaskedZero(worst, played, (actor) => isAbsent(actor) === absent)
    })
    results.push(resultOf(measured, null))
  }
  return results
}

function isAbsent({ own }: Actor): boolean {
  return own.rows * own.cols === 0
}

/** One image of a padded batch against the original's answer for it alone, unpadded. */
async function checkAlone(setting: Setting, check: string, actor: Actor, batch: Played | string): Promise<CheckResult> {
  const { subject, tolerances } = setting
  const size = sizeText(actor.size)
  if (subject.masking?.source === 'pixels' && isRagged(actor.size, setting.original.patch)) {
    return impossible(check, size, 'told from pixels, a patch begun counts whole; alone it does not count')
  }
  if (typeof batch === 'string') return failure(check, batch)
  const alone = await askOriginal(setting, actor)
  if (typeof alone === 'string') return impossible(check, size, alone)
  const only = new Set([actor.label])
  const measured = await measure(check, tolerances.alone, async (worst) => {
    compareOwn(worst, batch, alone, { only, relative: true })
  })
  return resultOf(measured, size)
}

/** One image without padding, on both models. */
async function checkUnpadded(setting: Setting, actor: Actor): Promise<CheckResult> {
  const { subject, transformed, tolerances } = setting
  const size = sizeText(actor.size)
  const refused = subject.transformed.refuses(actor.size)
  if (refused !== null) return impossible('unpadded', size, `the transformed model ${refused}`)
  const alone = await askOriginal(setting, actor)
  if (typeof alone === 'string') return impossible('unpadded', size, alone)
  const measured = await measure('unpadded', tolerances.same, async (worst: Worst) => {
    compareOwn(worst, await playAlone(transformed, subject.transformed, actor), alone, { relative: true })
  })
  return resultOf(measured, size)
}

/** What the original answers for one image alone, or why it cannot be asked. */
async function askOriginal({ subject, original }: Setting, actor: Actor): Promise<Played | string> {
  const refused = subject.original.refuses(actor.size)
  if (refused !== null) return `the original ${refused}`
  const played = await attempt(() => playAlone(original, subject.original, actor))
  if (typeof played === 'string') return `the original fails: ${played}`
  for (const [name, { data }] of played.outputs) {
    if (data.some((value) => !Number.isFinite(value))) return `the original's own ${name} is not finite`
  }
  return played
}

/** An image without padding; a model that takes one batch size gets as many copies of it. */
function playAlone(stage: Stage, { batch }: ModelFacts, actor: Actor): Promise<Played> {
  return play(stage, { actors: Array.from({ length: batch ?? 1 }, () => actor), canvas: actor.size })
}

function padding({ masking }: Subject): () => number {
  const value = masking?.padValue ?? 0
  return () => value
}

async function attempt(body: () => Promise<Played>): Promise<Played | string> {
  try {
    return await body()
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

export function impossible(check: string, image: string | null, reason: string): CheckResult {
  return { check, image, status: 'not possible', worst: null, tolerance: null, where: null, reason }
}

export function failure(check: string, reason: string): CheckResult {
  return { check, image: null, status: 'failed', worst: null, tolerance: null, where: null, reason }
}

function resultOf({ name, ok, worst, tolerance, at }: Measured, image: string | null): CheckResult {
  const known = Number.isFinite(worst)
  return {
    check: name,
    image,
    status: ok ? 'ok' : 'failed',
    worst: known ? worst : null,
    tolerance,
    where: known && at !== '' ? at : null,
    reason: known ? null : at,
  }
}

import type { Model } from '../ir/model.ts'
import { Session } from '../runtime/session.ts'
import type { ExportEntry, GoldenCase, GoldenPrecision } from './golden-case.ts'
import { setStage } from './golden-layout.ts'
import { Worst } from './measure.ts'
import { compareOwn, type Played, pixelInput, play, requireMaskedZero, type Scene, type Stage } from './scene.ts'
import type { Masking } from './subject.ts'

/** A transformed model and what it is held against. */
export interface GoldenSubject {
  /** The path of a file, or a model's bytes. */
  readonly transformed: string | Uint8Array
  /** The export before the transform. */
  readonly original: string | Uint8Array
  readonly goldenCase: GoldenCase
  readonly entry: ExportEntry
  /** What the passes were told of `mask.source` and `mask.mode`. */
  readonly masking: Pick<Masking, 'source' | 'mode'>
  /** Whether the pass `zero` ran, which clears what outputs hold at padding. */
  readonly zeroed: boolean
  /** The graph takes scales from whole batches, so that other images move an image's answer. */
  readonly sharesScale?: boolean
  /** ONNX Runtime's execution providers. Default `['cpu']`. */
  readonly providers?: readonly string[]
}

/** A stage whose model can be asked about its inputs. */
export type GoldenStage = Stage & { readonly runner: Session }

/**
 * Absolute tolerance where the same numbers are computed in another arrangement (a GPU sums in an order that depends on the size of the
 * batch); at fp16, a few roundings of values of order one; at int8, what follows where the last bit of a float decides to which integer it
 * rounds: seldom, so that most images must agree far better.
 */
const SAME: Readonly<Record<GoldenPrecision, number>> = { fp32: 1e-5, fp16: 1e-2, fp64: 1e-5, bf16: 1e-1, int8: 1e-1 }
const SAME_ELSEWHERE = { ...SAME, fp32: 1e-4 }

/** What most images of a quantised model keep to. */
const MOSTLY = 1e-3

/** True for a model that takes scales from whole batches. */
export function sharesScale(model: Model): boolean {
  return [...model.graph.walk()].some((node) => /^DynamicQuantize/.test(node.opType))
}

/** The tolerance where the same numbers are computed in another arrangement. */
export function sameTolerance({ entry, providers = ['cpu'] }: GoldenSubject): number {
  return (providers.every((name) => name === 'cpu') ? SAME : SAME_ELSEWHERE)[entry.precision]
}

/**
 * Opens one of the subject's models, lets it be used and closes it. In int8, fused kernels differ more from their parts than a wrong mask might,
 * so every node is run as the graph has it.
 * @throws VitpassError as `Session.open`, and as `use`
 */
export async function withStage<T>(
  subject: GoldenSubject,
  model: 'transformed' | 'original',
  use: (stage: GoldenStage) => Promise<T>,
): Promise<T> {
  const { goldenCase, entry, providers = ['cpu'] } = subject
  const session = await Session.open(subject[model], { providers, threads: 1, literal: entry.precision === 'int8' })
  try {
    return await use(setStage(session, goldenCase, entry))
  } finally {
    await session.close()
  }
}

/** Element type and dims that the model declares for its image. */
export function declaredImage({ runner }: GoldenStage): { type: string; dims: readonly (number | string)[] } {
  return runner.declared(pixelInput(runner)) ?? { type: 'float32', dims: [] }
}

/** Plays a scene that must be answered as another was; an image at a time where its company moves an image's answer. */
export async function playAgain(subject: GoldenSubject, worst: Worst, scene: Scene, plain: Played): Promise<void> {
  const { stage, scene: base } = plain
  const scenes: readonly (readonly [Scene, Played])[] =
    subject.sharesScale === true
      ? await Promise.all(
          base.actors.map(async (actor) => {
            const actors = scene.actors.filter((other) => other === actor || !base.actors.includes(other))
            return [{ ...scene, actors }, await play(stage, { ...base, actors: [actor] })] as const
          }),
        )
      : [[scene, plain]]
  const each: Worst[] = []
  for (const [again, wanted] of scenes) {
    const played = await play(stage, again)
    each.push(...compareEach(subject, played, wanted))
    if (subject.zeroed) requireExactZero(worst, played)
  }
  settle(subject, worst, each)
}

/** The largest difference of each image by itself. */
export function compareEach({ goldenCase }: GoldenSubject, actual: Played, expected: Played): Worst[] {
  const labels = new Set(expected.scene.actors.map(({ label }) => label))
  return [...labels].map((label) => {
    const worst = new Worst()
    compareOwn(worst, actual, expected, { only: new Set([label]), relative: goldenCase.relative === true })
    return worst
  })
}

/** Takes over the largest of many differences; for a quantised model, most have to be far smaller. */
export function settle({ entry }: GoldenSubject, worst: Worst, each: readonly Worst[]): void {
  const sorted = each.toSorted((a, b) => a.value - b.value)
  const [largest, middle] = [sorted.at(-1), sorted[Math.floor((sorted.length - 1) / 2)]]
  if (largest !== undefined && largest.value > worst.value) {
    worst.value = largest.value
    worst.at = largest.at
  }
  if (entry.precision === 'int8' && middle !== undefined && middle.value > MOSTLY) {
    worst.fail(`half of the images differ by ${middle.value} and more: ${middle.at}`)
  }
}

/** Fails, whatever the tolerance, unless outputs are exactly zero at masked positions, and altogether for an absent image. */
export function requireExactZero(worst: Worst, played: Played): void {
  const zeros = new Worst()
  requireMaskedZero(zeros, played)
  if (zeros.value !== 0) worst.fail(zeros.at)
}

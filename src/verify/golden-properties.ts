import { canvasOver, castActor, comparable } from './golden-cast.ts'
import { checkAlone, checkOriginal } from './golden-original.ts'
import {
  declaredImage,
  type GoldenStage,
  type GoldenSubject,
  playAgain,
  requireExactZero,
  sameTolerance,
  withStage,
} from './golden-subject.ts'
import { type Measured, measure, unitsOf, type Worst } from './measure.ts'
import { pixelNoise } from './noise.ts'
import { type Actor, compareOwn, ownOutput, type Played, play, type Scene } from './scene.ts'

/**
 * Measures what a transformed model promises: each image of a zero-padded batch as the goldens say for it alone, zeros at
 * padding and for absent images, no influence of padding, order or companions, and the original's answers without padding.
 */
export async function checkProperties(subject: GoldenSubject): Promise<Measured[]> {
  const opened = { done: false }
  try {
    return await withStage(subject, 'transformed', async (stage) => {
      opened.done = true
      const measured = [...(await checkPadded(subject, stage)), await checkOriginal(subject, stage)]
      return subject.entry.precision === 'int8' ? [...measured, await checkAlone(subject, stage)] : measured
    })
  } catch (error) {
    if (opened.done) throw error
    return [await measure('opens', 0, () => Promise.reject(error))]
  }
}

async function checkPadded(subject: GoldenSubject, stage: GoldenStage): Promise<Measured[]> {
  const { goldenCase, entry, zeroed } = subject
  const same = sameTolerance(subject)
  const relative = goldenCase.relative === true
  const actors = goldenCase.images.map((image) => castActor(subject, image))
  const canvas = canvasOver(goldenCase, 1)
  const base: Scene = { actors, canvas }
  let plain: Played
  try {
    plain = await play(stage, base)
  } catch (error) {
    return [await measure('runs', 0, () => Promise.reject(error))]
  }

  const invariant = (name: string, scene: Scene): Promise<Measured> =>
    measure(name, same, async (worst) => {
      await playAgain(subject, worst, scene, plain)
    })

  const measured = [
    await measure('golden', goldenCase.tolerance[entry.precision], async (worst) =>
      compareGolden(worst, subject, plain),
    ),
    await invariant('more padding', { actors, canvas: canvasOver(goldenCase, 3) }),
    await invariant('canvas of partial patches', {
      actors,
      canvas: { height: canvas.height + 1, width: canvas.width + goldenCase.patch - 1 },
    }),
    await invariant('order', { actors: actors.toReversed(), canvas }),
    await measure(
      'companions',
      subject.sharesScale === true ? goldenCase.tolerance[entry.precision] : same,
      async (worst) => {
        for (const actor of actors) {
          compareOwn(worst, await play(stage, { actors: [actor], canvas }), plain, { relative })
        }
      },
    ),
    await checkAbsent(subject, plain),
  ]
  if (zeroed) {
    measured.push(await measure('zero at padding', 0, async (worst) => requireExactZero(worst, plain)))
  }
  if (subject.masking.source === 'sizes') {
    measured.push(
      await invariant('noise in the padding', { actors, canvas, fill: pixelNoise(declaredImage(stage).type, 7) }),
    )
  }
  if (subject.masking.mode === 'patch') measured.push(await checkHidden(subject, plain))
  return measured
}

function compareGolden(worst: Worst, subject: GoldenSubject, played: Played): void {
  const { goldenCase, entry } = subject
  const images = comparable(subject)
  if (images.length === 0) worst.fail('no image of the case can be compared')
  for (const [name, prefix] of Object.entries(entry.outputs)) {
    for (const image of images) {
      const wanted = goldenCase.expected(prefix, image.index)
      const got = ownOutput(played, name, image.index)
      const unit = goldenCase.relative === true ? unitsOf(wanted) : undefined
      worst.compare(got, wanted, { name, of: image.tags.join(' ') }, unit)
    }
  }
}

/** An absent image first and in the middle: all zeros in every output where `zero` ran, and the others unmoved. */
function checkAbsent(subject: GoldenSubject, plain: Played): Promise<Measured> {
  const { channels, patch } = subject.goldenCase
  const empty: Actor = {
    label: 'absent',
    pixels: { data: new Float32Array(channels * patch * patch), dims: [channels, patch, patch] },
    size: { height: 0, width: 0 },
    own: { rows: 0, cols: 0 },
    hidden: [],
  }
  return measure('absent image', sameTolerance(subject), async (worst) => {
    const { actors, canvas } = plain.scene
    const scene = { actors: [empty, ...actors.slice(0, 3), empty, ...actors.slice(3)], canvas }
    await playAgain(subject, worst, scene, plain)
  })
}

/**
 * With `mode=patch` a hidden patch leaves a mark: the image's other tokens are not what they are with the patch seen. Nothing tells which outputs of
 * a recorded case come before all attention, so there one output with a mark is enough.
 */
function checkHidden(subject: GoldenSubject, plain: Played): Promise<Measured> {
  const { goldenCase, entry } = subject
  return measure('zero patch is hidden', 0, async (worst) => {
    for (const image of goldenCase.images.filter(({ tags }) => tags.includes('interior-zero'))) {
      const outputs = Object.entries(entry.outputs).filter(([, prefix]) => prefix !== 'hidden_states.0')
      const unmoved = outputs.filter(([name, prefix]) => {
        const seen = goldenCase.expected(prefix, image.index).data
        const got = ownOutput(plain, name, image.index).data
        return !got.some((value, i) => value !== 0 && Math.abs(value - (seen[i] ?? 0)) > 1e-3)
      })
      const enough = goldenCase.layouts === undefined ? outputs.length : 1
      const [first] = unmoved
      if (first === undefined || outputs.length - unmoved.length >= enough) continue
      worst.fail(`${first[0]} is the same as with the zero patch seen`)
    }
  })
}

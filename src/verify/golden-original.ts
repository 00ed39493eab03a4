import type { Size } from '../runtime/image.ts'
import { canvasOver, castActor, comparable } from './golden-cast.ts'
import {
  compareEach,
  declaredImage,
  type GoldenStage,
  type GoldenSubject,
  sameTolerance,
  settle,
  withStage,
} from './golden-subject.ts'
import { type Measured, measure, type Worst } from './measure.ts'
import { drawImage, pixelNoise } from './noise.ts'
import { gridOf } from './padded.ts'
import { type Actor, play } from './scene.ts'

/** Images of one size without padding, in a batch: what the original answers for each. */
export function checkOriginal(subject: GoldenSubject, transformed: GoldenStage): Promise<Measured> {
  return measure('original', sameTolerance(subject), async (worst) => {
    await withStage(subject, 'original', async (original) => {
      const [batch] = declaredImage(original).dims
      const perRun = typeof batch === 'number' ? batch : 1
      const each: Worst[] = []
      for (const canvas of originalSizes(subject, original)) {
        const actors = Array.from({ length: Math.max(2, perRun) }, (_, i) => castNoise(subject, original, canvas, i))
        const together = await play(transformed, { actors, canvas })
        for (let b = 0; b < actors.length; b += perRun) {
          const scene = { actors: actors.slice(b, b + perRun), canvas }
          const same = subject.sharesScale === true ? await play(transformed, scene) : together
          each.push(...compareEach(subject, same, await play(original, scene)))
        }
      }
      settle(subject, worst, each)
    })
  })
}

/**
 * Quantised models are far from the goldens, so each image is held against the original graph as well: alone at its own size there, padded
 * here, among the others unless they move its scale.
 */
export function checkAlone(subject: GoldenSubject, transformed: GoldenStage): Promise<Measured> {
  const { goldenCase, entry, sharesScale } = subject
  return measure('original alone', sameTolerance(subject), async (worst) => {
    await withStage(subject, 'original', async (original) => {
      const [batch, , rows, cols] = declaredImage(original).dims
      const images = comparable(subject).filter(
        ({ index, height, width }) =>
          entry.rightAlone.includes(index) &&
          (typeof rows !== 'number' || rows === height) &&
          (typeof cols !== 'number' || cols === width),
      )
      if (images.length === 0) return
      const each: Worst[] = []
      const actors = images.map((image) => castActor(subject, image))
      const canvas = canvasOver(goldenCase, 1)
      const together = sharesScale === true ? null : await play(transformed, { actors, canvas })
      for (const actor of actors) {
        const copies = Array.from({ length: typeof batch === 'number' ? batch : 1 }, () => actor)
        const alone = await play(original, { actors: copies, canvas: actor.size })
        each.push(...compareEach(subject, together ?? (await play(transformed, { actors: [actor], canvas })), alone))
      }
      settle(subject, worst, each)
    })
  })
}

function castNoise(subject: GoldenSubject, stage: GoldenStage, size: Size, index: number): Actor {
  const { channels, patch } = subject.goldenCase
  const pixels = drawImage(channels, size, pixelNoise(declaredImage(stage).type, index))
  return {
    label: `noise ${index} of ${size.height} x ${size.width}`,
    pixels,
    size,
    own: gridOf(size, { height: patch, width: patch }),
    hidden: [],
  }
}

/** Sizes that the original takes and is right at: where it was traced, and those of the golden images it answers. */
function originalSizes(subject: GoldenSubject, original: GoldenStage): Size[] {
  const { goldenCase, entry } = subject
  const [height, width] = entry.traceSize
  const traced = entry.knownWrong === undefined ? [{ height, width }] : []
  const right = goldenCase.images.filter(({ index, tags }) => {
    const exact = tags.includes('native') || tags.includes('wide')
    return exact && entry.rightAlone.includes(index)
  })
  const [, , rows, columns] = declaredImage(original).dims
  const takes = (declared: number | string | undefined, length: number): boolean =>
    typeof declared !== 'number' || declared === length
  return [...traced, ...right.map((image) => ({ height: image.height, width: image.width }))].filter(
    (size, i, all) =>
      takes(rows, size.height) &&
      takes(columns, size.width) &&
      all.findIndex((other) => other.height === size.height && other.width === size.width) === i,
  )
}

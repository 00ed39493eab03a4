import type { ExportEntry, GoldenCase, GoldenImage } from './cases.ts'
import { type Measured, measure, Worst } from './measure.ts'
import { drawImage, pixelNoise } from './noise.ts'
import { type ModelSource, OrtRunner, PROVIDER, type Reading } from './ort.ts'
import { type Grid, gridOf, type Size } from './padded.ts'
import {
  type Actor,
  compareOwn,
  ownOutput,
  type Played,
  pixelInput,
  play,
  requireMaskedZero,
  type Scene,
  setStage,
} from './scene.ts'

/** A stage whose model can be asked about its inputs. */
type OrtStage = ReturnType<typeof setStage>

/** Values of the options `mask.source` and `mask.mode` that a model was transformed with. */
export interface Masking {
  readonly source: 'pixels' | 'sizes'
  readonly mode: 'rect' | 'patch'
}

/** A transformed model and what it is held against. */
export interface Subject {
  readonly transformed: ModelSource
  /** The export before the transform. */
  readonly original: ModelSource
  readonly goldenCase: GoldenCase
  readonly entry: ExportEntry
  readonly masking: Masking
  /** Whether the pass `zero` ran, which clears what outputs hold at padding. */
  readonly zeroed: boolean
  /** The graph takes scales from whole batches, so that other images move an image's answer. */
  readonly sharesScale?: boolean
}

/**
 * Absolute tolerance where the same numbers are computed in another arrangement (a GPU sums in an order that depends on the size of the
 * batch); at fp16, a few roundings of values of order one; at int8, what follows where the last bit of a float decides to which integer it
 * rounds: seldom, so that most images must agree far better.
 */
const SAME = { fp32: PROVIDER === 'cpu' ? 1e-5 : 1e-4, fp16: 1e-2, fp64: 1e-5, bf16: 1e-1, int8: 1e-1 }

/** What most images of a quantised model keep to. */
const MOSTLY = 1e-3

/**
 * Measures what a transformed model promises: each image of a zero-padded batch as PyTorch answers for it alone, zeros at
 * padding and for absent images, no influence of padding, order or companions, and the original's answers without padding.
 */
export async function checkProperties(subject: Subject): Promise<Measured[]> {
  let transformed: OrtRunner
  try {
    transformed = await OrtRunner.open(subject.transformed, 1, readingOf(subject))
  } catch (error) {
    return [await measure('opens', 0, () => Promise.reject(error))]
  }
  try {
    const stage = setStage(transformed, subject.goldenCase, subject.entry)
    const measured = [...(await checkPadded(subject, stage)), await checkOriginal(subject, stage)]
    return subject.entry.precision === 'int8' ? [...measured, await checkAlone(subject, stage)] : measured
  } finally {
    await transformed.close()
  }
}

/** Plays a scene that must be answered as another was; an image at a time where its company moves an image's answer. */
async function playAgain(subject: Subject, worst: Worst, scene: Scene, plain: Played): Promise<void> {
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
    each.push(...compareEach(played, wanted))
    if (subject.zeroed) requireMaskedZero(worst, played)
  }
  settle(subject, worst, each)
}

/** The largest difference of each image by itself. */
function compareEach(actual: Played, expected: Played): Worst[] {
  const labels = new Set(expected.scene.actors.map(({ label }) => label))
  return [...labels].map((label) => {
    const worst = new Worst()
    compareOwn(worst, actual, expected, { only: new Set([label]) })
    return worst
  })
}

/** Takes over the largest of many differences; for a quantised model, most have to be far smaller. */
function settle({ entry }: Subject, worst: Worst, each: readonly Worst[]): void {
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

/** Whether ONNX Runtime may fuse: in int8 its fused kernels differ more from their parts than a wrong mask might. */
function readingOf({ entry }: Subject): Reading {
  return entry.precision === 'int8' ? 'literal' : 'optimised'
}

async function checkPadded(subject: Subject, stage: OrtStage): Promise<Measured[]> {
  const { goldenCase, entry, zeroed } = subject
  const same = SAME[entry.precision]
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
    await measure('companions', subject.sharesScale === true ? goldenCase.tolerance.int8 : same, async (worst) => {
      for (const actor of actors) {
        compareOwn(worst, await play(stage, { actors: [actor], canvas }), plain)
      }
    }),
    await checkAbsent(subject, plain),
  ]
  if (zeroed) {
    measured.push(await measure('zero at padding', 0, async (worst) => requireMaskedZero(worst, plain)))
  }
  if (subject.masking.source === 'sizes') {
    measured.push(await invariant('noise in the padding', { actors, canvas, fill: pixelNoise(pixelType(stage), 7) }))
  }
  if (subject.masking.mode === 'patch') measured.push(await checkHidden(subject, plain))
  return measured
}

/** How the model should see a golden image. From pixels, zero edges do not count and a patch begun counts whole. */
function castActor(subject: Subject, image: GoldenImage): Actor {
  const { patch } = subject.goldenCase
  const { tags, height, width } = image
  let own = gridOf(image, patch)
  if (subject.masking.source === 'pixels') {
    own = { rows: Math.ceil(height / patch), cols: Math.ceil(width / patch) }
    if (tags.includes('edge-zero')) own = { rows: own.rows - 1, cols: own.cols - 1 }
  }
  return {
    label: tags.join(' '),
    pixels: image.pixels,
    size: { height, width },
    own,
    hidden: subject.masking.mode === 'patch' ? zeroPatches(image, own, patch) : [],
  }
}

/** Patches of the grid whose every pixel is zero. */
function zeroPatches(image: GoldenImage, grid: Grid, patch: number): number[] {
  const seen = new Set<number>()
  const [, height = 0, width = 0] = image.pixels.dims
  image.pixels.data.forEach((value, i) => {
    if (value === 0) return
    const row = Math.floor((Math.floor(i / width) % height) / patch)
    seen.add(row * grid.cols + Math.floor((i % width) / patch))
  })
  return Array.from({ length: grid.rows * grid.cols }, (_, index) => index).filter((index) => !seen.has(index))
}

function canvasOver(goldenCase: GoldenCase, extraPatches: number): Size {
  const { images, patch } = goldenCase
  const over = (lengths: number[]): number => (Math.ceil(Math.max(...lengths) / patch) + extraPatches) * patch
  return { height: over(images.map((image) => image.height)), width: over(images.map((image) => image.width)) }
}

/** Images whose answer in the batch should be PyTorch's answer alone. */
function comparable(subject: Subject): readonly GoldenImage[] {
  const { images } = subject.goldenCase
  const { source, mode } = subject.masking
  const left = [
    ...(source === 'pixels' ? ['ragged', 'edge-zero'] : []),
    ...(mode === 'patch' ? ['edge-zero', 'interior-zero'] : []),
  ]
  return images.filter((image) => !image.tags.some((tag) => left.includes(tag)))
}

function compareGolden(worst: Worst, subject: Subject, played: Played): void {
  const { goldenCase, entry } = subject
  for (const [name, prefix] of Object.entries(entry.outputs)) {
    for (const image of comparable(subject)) {
      const wanted = goldenCase.expected(prefix, image.index)
      const got = ownOutput(played, name, image.index)
      worst.compare(got, wanted, { name, of: image.tags.join(' ') })
    }
  }
}

/** An absent image first and in the middle: all zeros in every output where `zero` ran, and the others unmoved. */
function checkAbsent(subject: Subject, plain: Played): Promise<Measured> {
  const { goldenCase, entry } = subject
  const { channels, patch } = goldenCase
  const empty: Actor = {
    label: 'absent',
    pixels: { data: new Float32Array(channels * patch * patch), dims: [channels, patch, patch] },
    size: { height: 0, width: 0 },
    own: { rows: 0, cols: 0 },
    hidden: [],
  }
  return measure('absent image', SAME[entry.precision], async (worst) => {
    const { actors, canvas } = plain.scene
    const scene = { actors: [empty, ...actors.slice(0, 3), empty, ...actors.slice(3)], canvas }
    await playAgain(subject, worst, scene, plain)
  })
}

/** With `mode=patch` a hidden patch leaves a mark: the image's other tokens are not what they are with the patch seen. */
function checkHidden(subject: Subject, plain: Played): Promise<Measured> {
  const { goldenCase, entry } = subject
  return measure('zero patch is hidden', 0, async (worst) => {
    for (const image of goldenCase.images.filter(({ tags }) => tags.includes('interior-zero'))) {
      for (const [name, prefix] of Object.entries(entry.outputs)) {
        if (prefix === 'hidden_states.0') continue
        const seen = goldenCase.expected(prefix, image.index).data
        const got = ownOutput(plain, name, image.index).data
        const moved = got.some((value, i) => value !== 0 && Math.abs(value - (seen[i] ?? 0)) > 1e-3)
        if (!moved) worst.fail(`${name} is the same as with the zero patch seen`)
      }
    }
  })
}

/** Images of one size without padding, in a batch: what the original answers for each. */
function checkOriginal(subject: Subject, transformed: OrtStage): Promise<Measured> {
  const { goldenCase, entry } = subject
  return measure('original', SAME[entry.precision], async (worst) => {
    const runner = await OrtRunner.open(subject.original, 1, readingOf(subject))
    try {
      const original = setStage(runner, goldenCase, entry)
      const [batch] = runner.declared(pixelInput(runner)).dims
      const perRun = typeof batch === 'number' ? batch : 1
      const each: Worst[] = []
      for (const canvas of originalSizes(subject, original)) {
        const actors = Array.from({ length: Math.max(2, perRun) }, (_, i) => castNoise(subject, original, canvas, i))
        const together = await play(transformed, { actors, canvas })
        for (let b = 0; b < actors.length; b += perRun) {
          const scene = { actors: actors.slice(b, b + perRun), canvas }
          const same = subject.sharesScale === true ? await play(transformed, scene) : together
          each.push(...compareEach(same, await play(original, scene)))
        }
      }
      settle(subject, worst, each)
    } finally {
      await runner.close()
    }
  })
}

/**
 * Quantised models are far from PyTorch, so each image is held against the original graph as well: alone at its own size there, padded
 * here, among the others unless they move its scale.
 */
function checkAlone(subject: Subject, transformed: OrtStage): Promise<Measured> {
  const { goldenCase, entry, sharesScale } = subject
  return measure('original alone', SAME[entry.precision], async (worst) => {
    const runner = await OrtRunner.open(subject.original, 1, readingOf(subject))
    try {
      const original = setStage(runner, goldenCase, entry)
      const [batch, , rows, cols] = runner.declared(pixelInput(runner)).dims
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
        each.push(...compareEach(together ?? (await play(transformed, { actors: [actor], canvas })), alone))
      }
      settle(subject, worst, each)
    } finally {
      await runner.close()
    }
  })
}

function castNoise(subject: Subject, stage: OrtStage, size: Size, index: number): Actor {
  const { channels, patch } = subject.goldenCase
  const pixels = drawImage(channels, size, pixelNoise(pixelType(stage), index))
  return {
    label: `noise ${index} of ${size.height} x ${size.width}`,
    pixels,
    size,
    own: gridOf(size, patch),
    hidden: [],
  }
}

function pixelType({ runner }: OrtStage): string {
  return runner.declared(pixelInput(runner)).type
}

/** Sizes that the original takes and is right at: where it was traced, and those of the golden images it answers. */
function originalSizes(subject: Subject, original: OrtStage): Size[] {
  const { goldenCase, entry } = subject
  const [height, width] = entry.traceSize
  const traced = entry.knownWrong === undefined ? [{ height, width }] : []
  const right = goldenCase.images.filter(({ index, tags }) => {
    const exact = tags.includes('native') || tags.includes('wide')
    return exact && entry.rightAlone.includes(index)
  })
  const [, , rows, columns] = original.runner.declared(pixelInput(original.runner)).dims
  const takes = (declared: number | string | undefined, length: number): boolean =>
    typeof declared !== 'number' || declared === length
  return [...traced, ...right.map((image) => ({ height: image.height, width: image.width }))].filter(
    (size, i, all) =>
      takes(rows, size.height) &&
      takes(columns, size.width) &&
      all.findIndex((other) => other.height === size.height && other.width === size.width) === i,
  )
}

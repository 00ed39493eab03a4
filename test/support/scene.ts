import type { GoldenCase } from './cases.ts'
import type { Worst } from './measure.ts'
import type { Feed, OrtRunner } from './ort.ts'
import { type Grid, gridOf, item, ownPart, ownTokens, padBatch, paddingTokens, type Size, valuesAt } from './padded.ts'
import type { Dense } from './safetensors.ts'

/** The input that a model transformed with `mask.source=sizes` has: [batch, 2] int64, height and width in pixels. */
export const SIZES_INPUT = 'image_sizes'

/** One image of a batch, and what the transformed model should see of it. */
export interface Actor {
  readonly label: string
  readonly pixels: Dense
  /** What goes into `image_sizes`. */
  readonly size: Size
  /** The image's own patches; 0 x 0 for an absent image. */
  readonly own: Grid
  /** Patches inside the own grid that the mask should hide, as indices row * own.cols + col. */
  readonly hidden: readonly number[]
}

/** A batch on a canvas, zero outside the images unless `fill` says otherwise. */
export interface Scene {
  readonly actors: readonly Actor[]
  readonly canvas: Size
  readonly fill?: (index: number) => number
}

/** A scene and what a model answered. */
export interface Played {
  readonly scene: Scene
  readonly padded: Grid
  readonly outputs: ReadonlyMap<string, Dense>
}

/** Runs the scene, `image_sizes` fed where the model has it. */
export async function play(runner: OrtRunner, goldenCase: GoldenCase, scene: Scene): Promise<Played> {
  const feeds: Record<string, Feed> = {
    [pixelInput(runner)]: padBatch(
      scene.actors.map((actor) => actor.pixels),
      scene.canvas,
      scene.fill,
    ),
  }
  if (runner.inputs.includes(SIZES_INPUT)) {
    const sizes = scene.actors.flatMap(({ size }) => [BigInt(size.height), BigInt(size.width)])
    feeds[SIZES_INPUT] = { data: BigInt64Array.from(sizes), dims: [scene.actors.length, 2] }
  }
  return { scene, padded: gridOf(scene.canvas, goldenCase.patch), outputs: await runner.run(feeds) }
}

/** The input that takes the image. */
export function pixelInput(runner: OrtRunner): string {
  const name = runner.inputs.find((input) => input !== SIZES_INPUT)
  if (name === undefined) throw new Error('the model has no image input')
  return name
}

/** The own part of one image in one output. @throws Error where the output has another shape than the canvas asks for */
export function ownOutput(played: Played, prefix: number, name: string, b: number): Dense {
  const value = itemOf(played, prefix, name, b)
  return ownPart(value, ownTokens(prefix, played.padded, actorAt(played, b).own))
}

/** Compares what the outputs hold at padded and hidden tokens with zero; the prefix counts where the image is absent. */
export function compareMaskedWithZero(worst: Worst, played: Played, prefix: number): void {
  for (const name of played.outputs.keys()) {
    played.scene.actors.forEach(({ label, own, hidden }, b) => {
      const value = itemOf(played, prefix, name, b)
      const absent = own.rows * own.cols === 0
      const inside = ownTokens(prefix, played.padded, own).slice(prefix)
      const tokens = [
        ...paddingTokens(prefix, played.padded, own),
        ...hidden.map((index) => inside[index] ?? Number.NaN),
      ]
      worst.compare(absent ? value.data : valuesAt(value, tokens), null, `${name} of ${label}, masked`)
    })
  }
}

/** Compares each image's own part in two batches; images are matched by their label. */
export function compareOwn(worst: Worst, actual: Played, expected: Played, prefix: number): void {
  for (const name of expected.outputs.keys()) {
    actual.scene.actors.forEach(({ label }, b) => {
      const other = expected.scene.actors.findIndex((actor) => actor.label === label)
      if (other === -1) return
      const wanted = ownOutput(expected, prefix, name, other)
      worst.compare(ownOutput(actual, prefix, name, b).data, wanted.data, `${name} of ${label}`)
    })
  }
}

function actorAt(played: Played, b: number): Actor {
  const actor = played.scene.actors[b]
  if (actor === undefined) throw new Error(`there is no image ${b} in the batch`)
  return actor
}

function itemOf(played: Played, prefix: number, name: string, b: number): Dense {
  const output = played.outputs.get(name)
  if (output === undefined) throw new Error(`the model has no output ${name}`)
  const batch = played.scene.actors.length
  const tokens = prefix + played.padded.rows * played.padded.cols
  const [first, ...rest] = output.dims
  const tokenAxes = rest.length === 3 ? rest.slice(1) : rest.slice(0, -1)
  if (first !== batch || tokenAxes.some((dim) => dim !== tokens)) {
    throw new Error(`output ${name} is [${output.dims}] for ${batch} images of ${tokens} tokens`)
  }
  return item(output, b)
}

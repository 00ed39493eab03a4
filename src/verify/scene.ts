import type { Size } from '../runtime/image.ts'
import type { Dense, Feed } from '../runtime/session.ts'
import { axisLength, type Layout, maskedPart, ownPart, type Placement } from './layout.ts'
import { unitsOf, type Worst } from './measure.ts'
import { type Grid, gridOf, item, padBatch } from './padded.ts'

/** The input that a model transformed with `mask.source=sizes` has: [batch, 2] int64, height and width in pixels. */
export const SIZES_INPUT = 'image_sizes'

/** What runs a model. */
export interface Runner {
  /** Names of the inputs that it takes. */
  readonly inputs: readonly string[]
  run(feeds: Readonly<Record<string, Feed>>): Promise<ReadonlyMap<string, Dense>>
}

/** What scenes are played on: a model, and what its image and outputs look like. */
export interface Stage {
  readonly runner: Runner
  /** Size of a patch in pixels. */
  readonly patch: Size
  /** By name of the graph output. */
  readonly layouts: ReadonlyMap<string, Layout>
}

/** One image of a batch, and what the transformed model should see of it. */
export interface Actor {
  readonly label: string
  /** [channels, height, width] */
  readonly pixels: Dense
  /** What goes into `image_sizes`. */
  readonly size: Size
  /** The image's own patches; 0 x 0 for an absent image. */
  readonly own: Grid
  /** Patches inside the own grid that the mask should hide, as row * own.cols + col. */
  readonly hidden: readonly number[]
}

/** A batch on a canvas, zero outside the images or what `fill` draws. */
export interface Scene {
  readonly actors: readonly Actor[]
  readonly canvas: Size
  readonly fill?: () => number
}

/** A scene and what a model answered. */
export interface Played {
  readonly stage: Stage
  readonly scene: Scene
  readonly padded: Grid
  readonly outputs: ReadonlyMap<string, Dense>
}

/** Runs the scene, `image_sizes` fed where the model has it. */
export async function play(stage: Stage, scene: Scene): Promise<Played> {
  const { runner, patch } = stage
  const images = scene.actors.map((actor) => actor.pixels)
  const feeds: Record<string, Feed> = { [pixelInput(runner)]: padBatch(images, scene.canvas, scene.fill) }
  if (runner.inputs.includes(SIZES_INPUT)) {
    const sizes = scene.actors.flatMap(({ size }) => [BigInt(size.height), BigInt(size.width)])
    feeds[SIZES_INPUT] = { data: BigInt64Array.from(sizes), dims: [scene.actors.length, 2] }
  }
  return { stage, scene, padded: gridOf(scene.canvas, patch), outputs: await runner.run(feeds) }
}

/** The input that takes the image. */
export function pixelInput(runner: Runner): string {
  const name = runner.inputs.find((input) => input !== SIZES_INPUT)
  if (name === undefined) throw new Error('the model has no image input')
  return name
}

/** The own part of one image in one output. @throws Error where the output has another shape than the canvas asks for */
export function ownOutput(played: Played, name: string, b: number): Dense {
  return ownPart(itemOf(played, name, b), layoutOf(played, name), placementOf(played, b))
}

/**
 * Fails unless the outputs are exactly zero at masked positions, and altogether for an absent image.
 * @param about which images to look at; all by default
 */
export function requireMaskedZero(worst: Worst, played: Played, about: (actor: Actor) => boolean = () => true): void {
  for (const name of played.stage.layouts.keys()) {
    played.scene.actors.forEach((actor, b) => {
      if (!about(actor)) return
      const { label, own } = actor
      const value = itemOf(played, name, b)
      const absent = own.rows * own.cols === 0
      const masked = absent ? value.data : maskedPart(value, layoutOf(played, name), placementOf(played, b))
      worst.requireZero(masked, `a value of ${name} at padding of ${label}`)
    })
  }
}

/**
 * Compares each image's own part in two batches; images are matched by their label.
 * @param only labels of the images to compare; all by default
 * @param relative measure by `unitsOf` instead of absolutely
 */
export function compareOwn(
  worst: Worst,
  actual: Played,
  expected: Played,
  { only, relative = false }: { readonly only?: ReadonlySet<string>; readonly relative?: boolean } = {},
): void {
  for (const name of expected.stage.layouts.keys()) {
    actual.scene.actors.forEach(({ label }, b) => {
      const other = expected.scene.actors.findIndex((actor) => actor.label === label)
      if (other === -1 || (only !== undefined && !only.has(label))) return
      const wanted = ownOutput(expected, name, other)
      worst.compare(ownOutput(actual, name, b), wanted, { name, of: label }, relative ? unitsOf(wanted) : undefined)
    })
  }
}

function placementOf(played: Played, b: number): Placement {
  const actor = played.scene.actors[b]
  if (actor === undefined) throw new Error(`there is no image ${b} in the batch`)
  return { padded: played.padded, own: actor.own, hidden: actor.hidden }
}

function layoutOf(played: Played, name: string): Layout {
  return played.stage.layouts.get(name) ?? []
}

function itemOf(played: Played, name: string, b: number): Dense {
  const output = played.outputs.get(name)
  if (output === undefined) throw new Error(`the model has no output ${name}`)
  const { scene, padded } = played
  const layout = layoutOf(played, name)
  const [batch, ...rest] = output.dims
  const wanted = layout.map((axis, i) => axisLength(axis, padded) ?? rest[i])
  if (
    batch !== scene.actors.length ||
    wanted.length !== rest.length ||
    wanted.some((length, i) => length !== rest[i])
  ) {
    throw new Error(
      `output ${name} is [${output.dims.join(', ')}] instead of [${[scene.actors.length, ...wanted].join(', ')}]`,
    )
  }
  return item(output, b)
}

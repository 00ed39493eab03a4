import { VitpassError } from '../errors.ts'
import type { Model } from '../ir/model.ts'
import { readProvenance } from '../ir/provenance.ts'
import { readModel } from '../onnx/node.ts'
import { type Size, sizeText } from '../runtime/image.ts'
import { type Dense, Session } from '../runtime/session.ts'
import type { ExportEntry, GoldenCase, GoldenPrecision } from './golden-case.ts'
import type { Layout } from './layout.ts'
import { type ModelFacts, readModelFacts } from './model-facts.ts'
import { drawImage, fillPatch, pixelNoise } from './noise.ts'
import { gridOf } from './padded.ts'
import { tolerancesFor } from './report.ts'
import { type Actor, ownOutput, play, type Stage } from './scene.ts'
import { defaultSizes, distinct } from './sizes.ts'

export interface RecordOptions {
  /** Height and width in pixels of the images. Default: those of `verify` that the model takes. */
  readonly sizes?: readonly Size[]
  /** Seed of the images. Default 0. */
  readonly seed?: number
  /** ONNX Runtime's execution providers. Default `['cpu']`. */
  readonly providers?: readonly string[]
  /** The largest difference that is to count as equal, instead of what fits the model's precision. */
  readonly tolerance?: number
}

/** A case to be written: `case.json` without the export's file, and its tensors. */
export interface Recorded {
  readonly described: Pick<GoldenCase, 'patch' | 'prefix' | 'native' | 'channels' | 'relative' | 'layouts'> & {
    readonly images: readonly { readonly height: number; readonly width: number; readonly tags: readonly string[] }[]
    readonly tolerance: Readonly<Partial<Record<GoldenPrecision, number>>>
  }
  readonly entry: Pick<ExportEntry, 'traceSize' | 'precision' | 'outputs' | 'rightAlone'>
  readonly tensors: ReadonlyMap<string, Dense>
  /** What the case does not hold, and why. */
  readonly notes: readonly string[]
}

/** An image to be recorded. */
type Sitter = Actor & { readonly tags: readonly string[] }

/**
 * Asks an untouched export for its answers to drawn images, each alone at its own size.
 * @param path of the export
 * @throws VitpassError MODEL_UNSUPPORTED for what vitpass wrote and for models that are no encoders with square patches; USAGE for sizes that the model
 * is not right at; RUNTIME_MISSING, RUNTIME_FAILED, and as `readModel`
 */
export async function recordCase(path: string, options: RecordOptions = {}): Promise<Recorded> {
  const model = await readModel(path)
  requireUntouched(model, path)
  const facts = readModelFacts(model)
  const { patch, channels, inputs } = facts
  const [input = '', ...more] = inputs
  if (patch.height !== patch.width) throw unsupported(path, `its patches are ${sizeText(patch)}, not square`)
  if (more.length > 0) throw unsupported(path, `nothing is known to feed into ${more.join(', ')}`)
  const layouts = new Map([...facts.layouts].filter((pair): pair is [string, Layout] => typeof pair[1] !== 'string'))
  if (layouts.size === 0) throw unsupported(path, 'none of its outputs follows the batch and the patch grid')
  const left = [...facts.layouts].flatMap(([name, read]) =>
    typeof read === 'string' ? [`output ${name} is left out: ${read}`] : [],
  )
  const { sizes, notes } = chooseSizes(facts, options.sizes)
  const traced = nativeSize(facts) ?? sizes[0] ?? patch
  const precision = facts.precision === 'dynamic int8' ? 'int8' : facts.precision
  const session = await Session.open(path, {
    providers: options.providers ?? ['cpu'],
    threads: 1,
    literal: precision === 'int8',
  })
  const tensors = new Map<string, Dense>()
  try {
    const cast = castSitters(facts, sizes, session.declared(input)?.type ?? 'float32', options.seed ?? 0)
    const stage: Stage = { runner: session, patch, layouts }
    for (const [index, sitter] of cast.entries()) {
      tensors.set(`image.${index}`, sitter.pixels)
      for (const [name, answer] of await answersOf(stage, facts, sitter)) tensors.set(`output.${name}.${index}`, answer)
    }
    return {
      described: {
        patch: patch.height,
        prefix: Math.max(0, ...[...layouts.values()].flat().map((axis) => (axis.kind === 'tokens' ? axis.before : 0))),
        native: [traced.height, traced.width],
        channels,
        relative: true,
        layouts: Object.fromEntries([...layouts].map(([name, layout]) => [`output.${name}`, layout])),
        images: cast.map(({ size, tags }) => ({ ...size, tags })),
        tolerance: { [precision]: tolerancesFor(facts.precision, options.tolerance).alone },
      },
      entry: {
        traceSize: [traced.height, traced.width],
        precision,
        outputs: Object.fromEntries([...layouts.keys()].map((name) => [name, `output.${name}`])),
        rightAlone: [...cast.keys()],
      },
      tensors,
      notes: [...notes, ...left],
    }
  } finally {
    await session.close()
  }
}

/** @throws VitpassError MODEL_UNSUPPORTED for a model that tells, in its metadata or in names, that vitpass wrote it */
export function requireUntouched(model: Model, where: string): void {
  const marked = [...model.graph.walk()].some(({ name, outputs }) =>
    [name, ...outputs.map((value) => value?.name)].some((text) => text?.startsWith('vitpass/')),
  )
  if (!marked && readProvenance(model).passes.length === 0) return
  throw new VitpassError('MODEL_UNSUPPORTED', 'vitpass wrote this model, so its answers are no independent witness', {
    where,
    remedy: 'give the export that it was made from',
  })
}

/** @throws VitpassError USAGE for a size that was asked for and that the model is not right at; MODEL_UNSUPPORTED where there is none */
function chooseSizes(facts: ModelFacts, asked?: readonly Size[]): { sizes: Size[]; notes: string[] } {
  const { patch, native } = facts
  const reasonAgainst = (size: Size): string | null =>
    size.height < patch.height || size.width < patch.width
      ? `has patches of ${sizeText(patch)}, larger than the image`
      : facts.refuses(size)
  const wanted = distinct(asked ?? defaultSizes(patch, native))
  const refused = wanted.flatMap((size) => {
    const reason = reasonAgainst(size)
    return reason === null ? [] : [{ size, reason }]
  })
  const [first] = refused
  if (first !== undefined && (asked !== undefined || refused.length === wanted.length)) {
    throw new VitpassError(
      asked === undefined ? 'MODEL_UNSUPPORTED' : 'USAGE',
      `there is no answer for an image of ${sizeText(first.size)}: the model ${first.reason}`,
      { remedy: 'give sizes that the model is right at with --sizes, or an export with free sizes' },
    )
  }
  const notes =
    first === undefined
      ? []
      : [`no image of ${refused.map(({ size }) => sizeText(size)).join(', ')}: the model ${first.reason}`]
  return { sizes: wanted.filter((size) => reasonAgainst(size) === null), notes }
}

function nativeSize({ native, patch }: ModelFacts): Size | null {
  return native === null ? null : { height: native.rows * patch.height, width: native.cols * patch.width }
}

/** A drawn image of each size, and one with a black patch inside. */
function castSitters(facts: ModelFacts, sizes: readonly Size[], type: string, seed: number): Sitter[] {
  const { patch, channels } = facts
  const native = nativeSize(facts)
  const sit = (size: Size, pixels: Dense, more: readonly string[]): Sitter => {
    const ragged = size.height % patch.height !== 0 || size.width % patch.width !== 0
    const tags = [sizeText(size), ...(ragged ? ['ragged'] : []), ...more]
    return { label: tags.join(' '), pixels, size, own: gridOf(size, patch), hidden: [], tags }
  }
  // Each image has a seed of its own, so that neighbouring seeds share none.
  const draw = (size: Size, index: number): Dense =>
    drawImage(channels, size, pixelNoise(type, seed * 1009 + index + 1))
  const cast = sizes.map((size, i) =>
    sit(size, draw(size, i), native !== null && sizeText(size) === sizeText(native) ? ['native'] : []),
  )
  const roomy = cast.find(({ own, tags }) => own.rows > 2 && own.cols > 2 && !tags.includes('ragged'))
  if (roomy === undefined) return cast
  const black = fillPatch(draw(roomy.size, sizes.length), patch, { row: 1, col: 1 }, 0)
  return [...cast, sit(roomy.size, black, ['interior-zero'])]
}

/** The model's outputs for one image without padding; a model that takes one batch size gets as many copies of it. */
async function answersOf(stage: Stage, { batch }: ModelFacts, sitter: Sitter): Promise<Map<string, Dense>> {
  const actors = Array.from({ length: batch ?? 1 }, () => sitter)
  const played = await play(stage, { actors, canvas: sitter.size })
  const answers = new Map<string, Dense>()
  for (const name of stage.layouts.keys()) {
    const answer = ownOutput(played, name, 0)
    if (answer.data.some((value) => !Number.isFinite(value))) {
      throw new VitpassError('RUNTIME_FAILED', `the model's ${name} is not finite for an image of ${sitter.label}`)
    }
    answers.set(name, answer)
  }
  return answers
}

function unsupported(where: string, message: string): VitpassError {
  return new VitpassError('MODEL_UNSUPPORTED', message, { where, remedy: 'no goldens can be recorded for it' })
}

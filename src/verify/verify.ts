import { VitpassError } from '../errors.ts'
import { readModel } from '../onnx/node.ts'
import { type Size, sizeText } from '../runtime/image.ts'
import { type Feed, Session, type SessionOptions } from '../runtime/session.ts'
import { failure, impossible, runChecks } from './checks.ts'
import { fitOutputs } from './outputs.ts'
import { type CheckResult, tolerancesFor, type VerifyReport } from './report.ts'
import { pixelInput, type Runner, SIZES_INPUT, type Stage } from './scene.ts'
import { defaultSizes, distinct } from './sizes.ts'
import { readSubject, type Subject } from './subject.ts'

export interface VerifyOptions {
  /** Height and width in pixels of the images. Default: native, wide, tall, one patch, larger than native. */
  readonly sizes?: readonly Size[]
  /** ONNX Runtime's execution providers, for both models. Default `['cpu']`. */
  readonly providers?: readonly string[]
  /** The largest difference that counts as equal, instead of what fits the model's precision. Zeros stay exact. */
  readonly tolerance?: number
}

/** What is done at the moment, told before it begins: if the runtime crashes, this is what it crashed at. */
export interface Step {
  readonly model: 'original' | 'transformed'
  /** `opening it`, `running it on [2, 3, 64, 64]`. */
  readonly doing: string
}

/**
 * Checks what a transformed model promises, on seeded random images: in one padded batch each gets what the original gives for it
 * alone; padding, order and company change nothing; padding and absent images give zeros; unpadded, both models agree.
 *
 * It blocks the calling thread, and a crash of ONNX Runtime takes the process with it: see `verifyInChild`.
 *
 * @param original path of the model before the transformation, the witness
 * @param transformed path of the model after it
 * @throws VitpassError for files that cannot be read, models that are no vision encoders (MODEL_UNSUPPORTED), RUNTIME_MISSING, and
 * RUNTIME_FAILED where ONNX Runtime does not take the original
 */
export async function verifyModels(
  original: string,
  transformed: string,
  options: VerifyOptions = {},
  onStep: (step: Step) => void = () => {},
): Promise<VerifyReport> {
  const start = performance.now()
  const subject = readSubject(await readModel(original), await readModel(transformed), { original, transformed })
  const providers = options.providers ?? ['cpu']
  const checks = await withSessions(
    { original, transformed },
    { providers, literal: isQuantised(subject) },
    onStep,
    (sessions) => checkBoth(subject, sessions, options),
  )
  return {
    original,
    transformed,
    providers,
    precision: subject.precision,
    passed: checks.every(({ status }) => status !== 'failed') && checks.some(comparesOriginal),
    checks,
    notes: subject.notes,
    seconds: (performance.now() - start) / 1000,
  }
}

/** True for a check that was made with the original's answers. */
function comparesOriginal({ check, status }: CheckResult): boolean {
  return status !== 'not possible' && ['alone', 'black patch', 'unpadded'].includes(check)
}

interface Sessions {
  readonly original: OpenModel
  /** The reason, where ONNX Runtime does not take it. */
  readonly transformed: OpenModel | string
}

interface OpenModel {
  readonly session: Session
  readonly runner: Runner
}

async function withSessions<T>(
  paths: { readonly original: string; readonly transformed: string },
  options: SessionOptions,
  onStep: (step: Step) => void,
  body: (sessions: Sessions) => Promise<T>,
): Promise<T> {
  const opened: Session[] = []
  const open = async (model: Step['model']): Promise<OpenModel> => {
    onStep({ model, doing: 'opening it' })
    const session = await Session.open(paths[model], options)
    opened.push(session)
    const run = (feeds: Readonly<Record<string, Feed>>) => {
      onStep({ model, doing: `running it on [${feeds[pixelInput(session)]?.dims.join(', ')}]` })
      return session.run(feeds)
    }
    return { session, runner: { inputs: session.inputs, run } }
  }
  try {
    return await body({
      original: await open('original').catch((error) => Promise.reject(withWhere(error, paths.original))),
      transformed: await open('transformed').catch((error) => reasonOf(error)),
    })
  } finally {
    for (const session of opened) await session.close()
  }
}

/** Fused integer kernels round otherwise than the operators that they stand for, and each graph fuses in other places. */
function isQuantised({ precision }: Subject): boolean {
  return precision === 'int8' || precision === 'dynamic int8'
}

function withWhere(error: unknown, where: string): unknown {
  if (!(error instanceof VitpassError) || error.code !== 'RUNTIME_FAILED') return error
  return new VitpassError(error.code, error.message, { where, cause: error })
}

/** That the runtime does not take the transformed model is a result; anything else is an error. */
function reasonOf(error: unknown): string {
  if (error instanceof VitpassError && error.code === 'RUNTIME_FAILED') return error.message
  throw error
}

/** @throws VitpassError USAGE for a size without a single patch */
function requireWholePatch(sizes: readonly Size[], patch: Size): void {
  const small = sizes.find(({ height, width }) => height < patch.height || width < patch.width)
  if (small === undefined) return
  throw new VitpassError('USAGE', `an image of ${sizeText(small)} has no whole patch of ${sizeText(patch)}`, {
    remedy: 'give larger sizes',
  })
}

async function checkBoth(subject: Subject, sessions: Sessions, options: VerifyOptions): Promise<CheckResult[]> {
  const { original, transformed } = sessions
  if (typeof transformed === 'string') return [failure('opens', transformed)]
  const { patch, inputs } = subject.transformed
  const image = pixelInput(transformed.runner)
  const foreign = inputs.filter((name) => name !== image && name !== SIZES_INPUT)
  if (foreign.length > 0) return [failure('inputs', `nothing is known to feed into ${foreign.join(', ')}`)]
  const native = subject.original.native ?? subject.transformed.native
  const sizes = distinct(options.sizes ?? defaultSizes(patch, native))
  requireWholePatch(sizes, patch)
  const [first = patch] = sizes
  const nativeSize = native === null ? first : { height: native.rows * patch.height, width: native.cols * patch.width }
  const fit = await fitOutputs(subject, transformed.runner, nativeSize)
  if (fit.layouts.size === 0) return [...fit.results, impossible('padded batch', null, 'no output can be compared')]
  const stage = (model: OpenModel, own: Size): Stage => ({ runner: model.runner, patch: own, layouts: fit.layouts })
  const results = await runChecks({
    subject,
    original: stage(original, subject.original.patch),
    transformed: stage(transformed, patch),
    sizes,
    native: nativeSize,
    type: transformed.session.declared(image)?.type ?? 'float32',
    tolerances: tolerancesFor(subject.precision, options.tolerance),
  })
  return [...fit.results, ...results]
}

import { availableParallelism, totalmem } from 'node:os'
import { VitpassError } from '../errors.ts'
import type { EncoderModel } from './encoder-model.ts'
import type { LaneCount } from './lanes.ts'

/** How an encoder runs its model; everything has a default. */
export interface EncoderOptions {
  /** ONNX Runtime's names of execution providers, tried in order. Default `['cpu']`. */
  readonly providers?: readonly string[]
  /**
   * Threads with a session each. Default: on the CPU one for each core, as far as a quarter of the memory holds their weights; one on
   * other providers. 0 runs one session on the caller's own thread, whose event loop then stands still while the model runs.
   */
  readonly workers?: number
  /** Threads inside an operator. Default: the cores, divided among the workers. */
  readonly threads?: number
  /**
   * Whether one more session, with threads for every core inside its operators, may be opened for calls that have too few batches to keep
   * all workers busy (a single image). Default true on the CPU.
   */
  readonly wideSession?: boolean
  /** The output to take instead of the one that is found. */
  readonly output?: string
  /** Most tokens in a batch of more than one image, padding included. Default 1536 on the CPU, 8192 on other providers. */
  readonly batchTokens?: number
  /** Largest share of a batch's tokens that may be padding. Default 0.1. */
  readonly maxPadding?: number
  /** Bytes of pixels made ready for the model at a time; an iterable's images take as much again. Default 256 MB. */
  readonly maxBytes?: number
  /** Larger images are refused. Default 4,194,304 (2048 x 2048). */
  readonly maxPixels?: number
  /** `throw` (default): the first image that cannot be encoded ends the call. `report`: its row is 0 and the result's `errors` says why. */
  readonly onError?: 'throw' | 'report'
  /** Encodes images of equal content in one call once. Default true. */
  readonly deduplicate?: boolean
  /** Bytes of rows that are kept for images of equal content in later calls. Default 0. */
  readonly cacheBytes?: number
  /**
   * Lets the workers share the weights of a model with external data, which are then read as they lie in the file: a few to 50 % slower,
   * least for large batches.
   */
  readonly shareWeights?: boolean
}

export interface EncoderSettings
  extends Required<Omit<EncoderOptions, 'workers' | 'threads' | 'wideSession' | 'output' | 'batchTokens'>> {
  readonly output: string | undefined
  readonly batchTokens: (provider: string) => number
  readonly lanes: (provider: string) => LaneCount
}

/** Bytes that a session takes for each byte of weights: the weights themselves, and the form in which products read them. */
const SESSION_SHARE = 2

/**
 * Fills in the defaults.
 * @throws VitpassError BAD_OPTION for a value that makes no sense
 */
export function settingsFor(options: EncoderOptions, model: EncoderModel): EncoderSettings {
  for (const name of ['workers', 'cacheBytes', 'maxPadding'] as const) check(name, options[name], 0)
  for (const name of ['threads', 'batchTokens', 'maxBytes', 'maxPixels'] as const) check(name, options[name], 1)
  const { providers = ['cpu'], onError = 'throw', batchTokens } = options
  if (providers.length === 0) throw badOption('providers', 'is empty', "name at least one, such as 'cpu'")
  if (onError !== 'throw' && onError !== 'report')
    throw badOption('onError', `is ${onError}`, "give 'throw' or 'report'")
  return {
    providers,
    onError,
    output: options.output,
    maxPadding: options.maxPadding ?? 0.1,
    maxBytes: options.maxBytes ?? 256 * 1024 * 1024,
    maxPixels: options.maxPixels ?? 2048 * 2048,
    deduplicate: options.deduplicate ?? true,
    cacheBytes: options.cacheBytes ?? 0,
    shareWeights: options.shareWeights ?? false,
    batchTokens: (provider) => batchTokens ?? (provider === 'cpu' ? 1536 : 8192),
    lanes: (provider) => lanesFor(provider, options, model),
  }
}

function lanesFor(
  provider: string,
  { workers, threads, wideSession, shareWeights }: EncoderOptions,
  model: EncoderModel,
): LaneCount {
  const cores = availableParallelism()
  if (provider !== 'cpu') return { workers: workers ?? 1, threads, wide: false }
  const weights = Math.max(1, model.weightBytes) * (shareWeights === true ? 0.1 : SESSION_SHARE)
  const held = Math.max(1, Math.floor(totalmem() / 4 / weights))
  const count = workers ?? Math.min(cores, held)
  return {
    workers: count,
    threads: threads ?? Math.max(1, Math.floor(cores / Math.max(1, count))),
    wide: wideSession ?? true,
  }
}

function check(name: string, value: number | undefined, least: number): void {
  if (value === undefined || (Number.isFinite(value) && value >= least)) return
  throw badOption(name, `is ${value}`, `give a number of at least ${least}`)
}

function badOption(name: string, problem: string, remedy: string): VitpassError {
  return new VitpassError('BAD_OPTION', `${name} ${problem}`, { where: 'ImageEncoder', remedy })
}

import { VitpassError } from '../errors.ts'
import type { EncoderModel } from './encoder-model.ts'
import { groupedStrategy } from './grouped.ts'
import { maskedStrategy } from './masked.ts'
import type { Strategy } from './strategy.ts'

/** What the user asked for and the machine allows, as far as strategies need it. */
export interface StrategyOptions {
  /** Most tokens in a batch of more than one image, padding included. */
  readonly batchTokens: number
  /** Most bytes of pixels in such a batch. */
  readonly batchBytes: number
  /** Largest share of a batch's tokens that may be padding. */
  readonly maxPadding: number
  /** How many batches run at once. */
  readonly lanes: number
  /** The output to pool, where the user names it. */
  readonly output?: string | undefined
}

/** Makes a strategy for a model that it fits, or says why it does not fit. */
export type StrategyMaker = (model: EncoderModel, options: StrategyOptions) => Strategy | string

/** In order of preference: the first that fits is used. */
const MAKERS: readonly (readonly [name: string, make: StrategyMaker])[] = [
  ['masked', maskedStrategy],
  ['grouped', groupedStrategy],
]

/**
 * Picks the way in which images are fed to a model.
 * @throws VitpassError MODEL_UNSUPPORTED with every strategy's reason where none fits
 */
export function chooseStrategy(model: EncoderModel, options: StrategyOptions): Strategy {
  const reasons: string[] = []
  for (const [name, make] of MAKERS) {
    const made = make(model, options)
    if (typeof made !== 'string') return made
    reasons.push(`${name}: ${made}`)
  }
  throw new VitpassError('MODEL_UNSUPPORTED', `no way to feed images to this model is known (${reasons.join('; ')})`, {
    remedy: 'give one with a single input [batch, channels, height, width] and a float output',
  })
}

import { VitpassError } from '../errors.ts'
import type { EncoderModel } from './encoder-model.ts'
import { grouped } from './grouped.ts'
import { masked } from './masked.ts'
import type { Strategy } from './strategy.ts'

/** What the user asked for and the machine allows, as far as strategies need it. */
export interface StrategyOptions {
  /** Tokens in a batch, padding included, that must not be exceeded by more than one image. */
  readonly batchTokens: number
  /** Bytes of pixels in a batch, likewise. */
  readonly batchBytes: number
  /** The output to pool, where the user names it. */
  readonly output?: string
}

/** Makes a strategy for a model that it fits, or says why it does not fit. */
export type StrategyMaker = (model: EncoderModel, options: StrategyOptions) => Strategy | string

/** In order of preference: the first that fits is used. */
const MAKERS: Readonly<Record<string, StrategyMaker>> = { masked, grouped }

/**
 * Picks the way in which images are fed to a model.
 * @throws VitpassError MODEL_UNSUPPORTED with every strategy's reason where none fits
 */
export function chooseStrategy(model: EncoderModel, options: StrategyOptions): Strategy {
  const reasons: string[] = []
  for (const [name, make] of Object.entries(MAKERS)) {
    const made = make(model, options)
    if (typeof made !== 'string') return made
    reasons.push(`${name}: ${made}`)
  }
  throw new VitpassError('MODEL_UNSUPPORTED', `no way to feed images to this model (${reasons.join('; ')})`, {
    remedy: 'it needs an input [batch, channels, height, width] and a float output; `vitpass inspect` shows what it has',
  })
}

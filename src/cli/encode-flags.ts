import { VitpassError } from '../errors.ts'
import type { EncoderOptions } from '../runtime/encoder-options.ts'
import type { PreprocessingFlags } from './encode-settings.ts'
import { type FlagValues, listOf, onlyOne } from './flags.ts'

export interface EncodeFlags {
  readonly model: string
  readonly images: readonly string[]
  readonly output: FlagValues
  readonly provider: FlagValues
  readonly 'batch-tokens': FlagValues
  readonly threads: FlagValues
  readonly 'max-pixels': FlagValues
  readonly 'model-output': FlagValues
  readonly preprocessor: FlagValues
  readonly resize: FlagValues
  readonly mean: FlagValues
  readonly std: FlagValues
  readonly strict: boolean
  readonly resume: boolean
  readonly json: boolean
}

/** @throws VitpassError USAGE for a flag whose value has another form */
export function encoderOptions(flags: EncodeFlags): EncoderOptions {
  const providers = listOf(flags.provider)
  const batchTokens = countOf('--batch-tokens', flags['batch-tokens'])
  const workers = countOf('--threads', flags.threads)
  const maxPixels = countOf('--max-pixels', flags['max-pixels'])
  const output = onlyOne('--model-output', flags['model-output'])
  return {
    ...(providers.length === 0 ? {} : { providers }),
    ...(batchTokens === undefined ? {} : { batchTokens }),
    ...(workers === undefined ? {} : { workers, threads: 1 }),
    ...(maxPixels === undefined ? {} : { maxPixels }),
    ...(output === undefined ? {} : { output }),
  }
}

/** @throws VitpassError USAGE for a flag whose value has another form */
export function preprocessingFlags(flags: EncodeFlags): PreprocessingFlags {
  const resize = onlyOne('--resize', flags.resize)
  if (resize !== undefined && resize !== 'keep' && resize !== 'config') {
    throw new VitpassError('USAGE', `--resize cannot be "${resize}"`, { remedy: 'give keep or config' })
  }
  return {
    preprocessor: onlyOne('--preprocessor', flags.preprocessor),
    resize,
    mean: numbersOf('--mean', flags.mean),
    std: numbersOf('--std', flags.std),
  }
}

function countOf(flag: string, values: FlagValues): number | undefined {
  const text = onlyOne(flag, values)
  if (text === undefined) return undefined
  if (!/^[1-9]\d{0,14}$/.test(text)) {
    throw new VitpassError('USAGE', `${flag} cannot be "${text}"`, { remedy: 'give a whole number above 0' })
  }
  return Number(text)
}

function numbersOf(flag: string, values: FlagValues): number[] | undefined {
  const text = onlyOne(flag, values)
  if (text === undefined) return undefined
  const numbers = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)))
  if (!numbers.every(Number.isFinite) || (flag === '--std' && numbers.includes(0))) {
    throw new VitpassError('USAGE', `${flag} cannot be "${text}"`, { remedy: `write it as in ${flag} 0.5,0.5,0.5` })
  }
  return numbers
}

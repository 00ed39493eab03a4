import { VitpassError } from '../errors.ts'
import type { EncoderDescription } from '../runtime/describe.ts'
import { readCompanion, readJson } from '../runtime/describe-config.ts'
import { PLAIN, type Preprocessing } from '../runtime/preprocessing.ts'
import { readPreprocessing } from '../runtime/preprocessor-config.ts'

export interface PreprocessingFlags {
  /** The file, where it is not the one beside the model. */
  readonly preprocessor: string | undefined
  /** Whether images keep their size; if undefined, they do where the model takes mixed sizes. */
  readonly resize: 'keep' | 'config' | undefined
  readonly mean: readonly number[] | undefined
  readonly std: readonly number[] | undefined
}

export interface ChosenPreprocessing {
  readonly preprocessing: Preprocessing
  /** What the user should know about the choice. */
  readonly notes: readonly string[]
}

/**
 * Decides how images are prepared: by the flags, else by `preprocessor_config.json`, else -1 to 1. Models that take mixed sizes get images at
 * their own size; a model for one size gets that size where no file says how to come to it.
 * @throws VitpassError CONFIG_INVALID, CONFIG_UNSUPPORTED, FILE_NOT_FOUND, USAGE
 */
export async function choosePreprocessing(
  model: string,
  encoder: EncoderDescription,
  flags: PreprocessingFlags,
): Promise<ChosenPreprocessing> {
  const channels = encoder.channels === 1 ? 1 : 3
  const mixed = encoder.strategy.kind === 'masked' || encoder.strategy.kind === 'native'
  const keepSize = flags.resize === undefined ? mixed : flags.resize === 'keep'
  const file = await findConfig(model, flags.preprocessor)
  const notes: string[] = []
  let chosen: Preprocessing
  if (file === null) {
    chosen = { ...PLAIN, mean: Array(channels).fill(0.5), std: Array(channels).fill(0.5), ...fixedSize(encoder) }
    if (flags.mean === undefined || flags.std === undefined) {
      notes.push(
        'there is no preprocessor_config.json beside the model, so pixels go from -1 to 1; give --preprocessor, or --mean and --std, where it was trained otherwise',
      )
    }
    if (chosen.resize?.to.kind === 'exact') {
      const { height, width } = chosen.resize.to
      notes.push(
        `the model takes one size only, so images are warped to ${height}x${width} with bilinear interpolation`,
      )
    }
  } else {
    chosen = readPreprocessing(file.json, { keepSize, channels, where: file.path })
  }
  return {
    preprocessing: {
      ...chosen,
      mean: perChannel('--mean', flags.mean, channels) ?? chosen.mean,
      std: perChannel('--std', flags.std, channels) ?? chosen.std,
    },
    notes,
  }
}

async function findConfig(
  model: string,
  given: string | undefined,
): Promise<{ readonly path: string; readonly json: unknown } | null> {
  if (given === undefined) {
    return (await readCompanion(model, 'preprocessor_config.json')) ?? (await imageProcessorOf(model))
  }
  const json = await readJson(given)
  if (json === undefined) throw new VitpassError('FILE_NOT_FOUND', 'there is no such file', { where: given })
  return { path: given, json }
}

/** transformers 5 keeps it in the `image_processor` of another file. */
async function imageProcessorOf(model: string): Promise<{ readonly path: string; readonly json: unknown } | null> {
  const found = await readCompanion(model, 'processor_config.json')
  const { json } = found ?? {}
  return typeof json === 'object' && json !== null && 'image_processor' in json ? found : null
}

/** Warped to the model's size, where its input is fixed to one. */
function fixedSize({ input, layout, nativeSize }: EncoderDescription): Pick<Preprocessing, 'resize'> {
  const fixed = layout === 'NCHW' && [2, 3].every((axis) => typeof input.dims?.[axis] === 'number')
  if (!fixed || nativeSize === null) return { resize: null }
  return { resize: { to: { kind: 'exact', ...nativeSize }, filter: 'bilinear', floats: false } }
}

function perChannel(flag: string, values: readonly number[] | undefined, channels: number): number[] | undefined {
  if (values === undefined) return undefined
  if (values.length === 1) return Array(channels).fill(values[0])
  if (values.length === channels) return [...values]
  throw new VitpassError('USAGE', `${flag} has ${values.length} numbers, but the model takes ${channels} channels`, {
    remedy: 'give one number, or one for each channel',
  })
}

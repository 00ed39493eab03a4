import { readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { VitpassError } from '../errors.ts'
import type { Size } from './image.ts'

/** What a Hugging Face `config.json` says of an encoder; null for what it does not say. */
export interface ConfigFacts {
  readonly hiddenSize: number | null
  readonly patch: Size | null
  readonly nativeSize: Size | null
  readonly channels: number | null
}

/** A JSON file that lies with a model, and where. */
export interface Companion {
  readonly path: string
  readonly json: unknown
}

/**
 * Reads a JSON file beside a model, or one folder up where the model lies in a folder named `onnx`, as on the Hub. Null where there is none.
 * @throws VitpassError CONFIG_INVALID where it is no JSON, FILE_UNREADABLE where it cannot be read
 */
export async function readCompanion(model: string, name: string): Promise<Companion | null> {
  const folder = dirname(resolve(model))
  const folders = basename(folder) === 'onnx' ? [folder, dirname(folder)] : [folder]
  for (const candidate of folders) {
    const path = join(candidate, name)
    const json = await readJson(path)
    if (json !== undefined) return { path, json }
  }
  return null
}

/** The file's content; undefined where there is no such file. @throws VitpassError as `readCompanion` */
export async function readJson(path: string): Promise<unknown> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new VitpassError('FILE_UNREADABLE', `the file cannot be read (${code})`, { where: path, cause })
  }
  try {
    const parsed: unknown = JSON.parse(text)
    return parsed
  } catch (cause) {
    throw new VitpassError('CONFIG_INVALID', 'this is no JSON', { where: path, remedy: 'mend or remove it', cause })
  }
}

/**
 * Hidden size, patch and native size, from `vision_config` where the model has a text part too. The hidden size is `hidden_size`; else, of
 * `neck_hidden_sizes`, the last where `expand_output` is set and the one before where it is not (MobileViT); else the last of `hidden_sizes`.
 */
export function readConfigFacts(config: unknown): ConfigFacts {
  const whole = fieldsOf(config)
  const vision = fieldsOf(whole.vision_config)
  const either = (field: string): unknown => vision[field] ?? whole[field]
  return {
    hiddenSize: hiddenSizeOf(vision) ?? hiddenSizeOf(whole),
    patch: sizeOf(either('patch_size')),
    nativeSize: sizeOf(either('image_size')),
    channels: lengthOf(either('num_channels')),
  }
}

type Fields = Readonly<Record<string, unknown>>

function hiddenSizeOf(config: Fields): number | null {
  const plain = lengthOf(config.hidden_size)
  if (plain !== null) return plain
  if (Array.isArray(config.neck_hidden_sizes)) {
    return lengthOf(config.neck_hidden_sizes.at(config.expand_output === true ? -1 : -2))
  }
  return Array.isArray(config.hidden_sizes) ? lengthOf(config.hidden_sizes.at(-1)) : null
}

function sizeOf(value: unknown): Size | null {
  const [first, second] = Array.isArray(value) ? value : [value, value]
  const height = lengthOf(first)
  const width = lengthOf(second)
  return height === null || width === null ? null : { height, width }
}

function lengthOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 ? value : null
}

function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {}
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { VitpassError } from '../errors.ts'
import type { Dense } from '../runtime/session.ts'
import type { Layout } from './layout.ts'
import { readSafetensors } from './safetensors.ts'

export const CASE_FILE = 'case.json'
export const TENSORS_FILE = 'tensors.safetensors'

/** What an export computes in. */
export type GoldenPrecision = 'fp32' | 'fp16' | 'fp64' | 'bf16' | 'int8'

/** One image of a golden case; sizes in pixels. */
export interface GoldenImage {
  readonly index: number
  readonly height: number
  readonly width: number
  readonly tags: readonly string[]
  /** [channels, height, width] */
  readonly pixels: Dense
}

/** One ONNX export of the case's model, as case.json describes it. */
export interface ExportEntry {
  readonly file: string
  readonly exporter: string
  readonly opset: number
  readonly dynamic: string
  readonly traceBatch: number
  /** Height and width in pixels. */
  readonly traceSize: readonly [number, number]
  readonly precision: GoldenPrecision
  /** Options that this export needs, by pass: what its graph does not show. */
  readonly options?: Readonly<Record<string, Readonly<Record<string, string | number | boolean>>>>
  /** Graph output to the prefix of its golden tensors. */
  readonly outputs: Readonly<Record<string, string>>
  /** Images that the untouched export gets right alone. */
  readonly rightAlone: readonly number[]
  readonly knownWrong?: string
}

/** A folder of goldens: one model's answers for each image alone, and the exports of that model. */
export interface GoldenCase {
  readonly name: string
  readonly folder: string
  readonly patch: number
  /** Tokens before the patches. */
  readonly prefix: number
  readonly native: readonly [number, number]
  readonly channels: number
  readonly images: readonly GoldenImage[]
  /** For every precision that an export of the case computes in. */
  readonly tolerance: Readonly<Record<GoldenPrecision, number>>
  /** Differences are relative where values are larger than one; absolute by default. */
  readonly relative?: boolean
  /** Axes of the golden tensors by their prefix; read off the tensors' shapes where it is absent. */
  readonly layouts?: Readonly<Record<string, Layout>>
  readonly models: readonly ExportEntry[]
  /**
   * Where the model comes from; `refuse` says why no mask makes it exact, for those that must be refused; `native` is set where images
   * of any size come in as patches, or as pictures with a mask.
   */
  readonly origin: {
    readonly library: string
    readonly class: string
    readonly refuse?: string
    readonly native?: boolean
  }
  /** What the model answers for image `index` alone, without a batch axis. @throws VitpassError CONFIG_INVALID where there is none */
  expected(prefix: string, index: number): Dense
}

/**
 * Folders of the cases in a folder, sorted; the folder itself where it is a case.
 * @throws VitpassError FILE_NOT_FOUND where there is no case
 */
export function caseFolders(folder: string): string[] {
  if (existsSync(join(folder, CASE_FILE))) return [folder]
  const found = existsSync(folder)
    ? readdirSync(folder).filter((name) => existsSync(join(folder, name, CASE_FILE)))
    : []
  if (found.length > 0) return found.sort().map((name) => join(folder, name))
  throw new VitpassError('FILE_NOT_FOUND', `there is no case in it (a folder with ${CASE_FILE})`, {
    where: folder,
    remedy: 'check the path, or make a case with `vitpass golden record`',
  })
}

/** @throws VitpassError CONFIG_INVALID for a case that cannot be used, and as `readSafetensors` */
export function loadCase(folder: string): GoldenCase {
  const path = join(folder, CASE_FILE)
  const described = readDescription(path)
  const tensors = readSafetensors(join(folder, TENSORS_FILE))
  const tensor = (key: string): Dense => {
    const found = tensors.get(key)
    if (found === undefined) throw invalid(join(folder, TENSORS_FILE), `there is no tensor ${key}`)
    return found
  }
  const images = described.images.map((image, index) => {
    const pixels = tensor(`image.${index}`)
    const wanted = [described.channels, image.height, image.width]
    if (pixels.dims.join() === wanted.join()) return { ...image, index, pixels }
    throw invalid(path, `image ${index} is [${pixels.dims.join(', ')}] in ${TENSORS_FILE}, not [${wanted.join(', ')}]`)
  })
  return {
    ...described,
    name: described.name ?? basename(resolve(folder)),
    folder: resolve(folder),
    images,
    expected: (prefix, index) => tensor(`${prefix}.${index}`),
  }
}

/** Where an export of the case lies. */
export function exportPath(goldenCase: GoldenCase, entry: ExportEntry): string {
  return resolve(goldenCase.folder, entry.file)
}

type Described = Omit<GoldenCase, 'folder' | 'expected'>

function readDescription(path: string): Described {
  let parsed: unknown
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw invalid(path, `it cannot be read as JSON (${cause instanceof Error ? cause.message : cause})`)
  }
  const problem = problemOf(parsed)
  if (problem !== null) throw invalid(path, problem)
  // What is used of it was looked at above.
  return parsed as Described
}

/** What is wrong with the fields that checking needs; null where they are as `GoldenCase` says. */
function problemOf(parsed: unknown): string | null {
  if (!isRecord(parsed)) return 'it is no JSON object'
  const { patch, prefix, channels, images, models, tolerance, origin } = parsed
  if (!isCount(patch) || !isCount(channels) || !isWhole(prefix)) return 'patch, channels or prefix is no whole number'
  if (!isRecord(tolerance) || !Object.values(tolerance).every((value) => typeof value === 'number' && value >= 0))
    return 'tolerance does not give a number for each precision'
  if (!isRecord(origin)) return 'origin is missing'
  if (parsed.layouts !== undefined && !isLayouts(parsed.layouts))
    return 'layouts does not give a list of axes for each output'
  if (!Array.isArray(images) || images.length === 0) return 'it lists no images'
  const badImage = images.findIndex((image) => !isImage(image))
  if (badImage >= 0) return `image ${badImage} needs height, width and tags`
  if (!Array.isArray(models) || models.length === 0) return 'it lists no models'
  const badModel = models.findIndex((model) => !isExport(model))
  if (badModel >= 0) return `model ${badModel} needs file, precision, traceSize, rightAlone and outputs`
  const unheld = models.find(({ precision }) => !Object.hasOwn(tolerance, precision))
  return unheld === undefined ? null : `tolerance has none for ${unheld.precision}, which ${unheld.file} computes in`
}

function isImage(image: unknown): boolean {
  if (!isRecord(image) || !isCount(image.height) || !isCount(image.width)) return false
  return Array.isArray(image.tags) && image.tags.every((tag) => typeof tag === 'string')
}

function isExport(model: unknown): boolean {
  if (!isRecord(model) || typeof model.file !== 'string' || typeof model.precision !== 'string') return false
  const { outputs, traceSize, rightAlone, options = {} } = model
  if (!isRecord(options) || !Object.values(options).every(isRecord)) return false
  if (!isRecord(outputs) || Object.keys(outputs).length === 0) return false
  if (!Object.values(outputs).every((prefix) => typeof prefix === 'string')) return false
  if (!Array.isArray(traceSize) || traceSize.length !== 2 || !traceSize.every(isCount)) return false
  return Array.isArray(rightAlone) && rightAlone.every(isWhole)
}

function isLayouts(layouts: unknown): boolean {
  const isAxis = (axis: unknown): boolean =>
    isRecord(axis) &&
    ['tokens', 'rows', 'cols', 'fixed'].includes(String(axis.kind)) &&
    (axis.kind !== 'tokens' || (isWhole(axis.before) && isWhole(axis.after)))
  return isRecord(layouts) && Object.values(layouts).every((layout) => Array.isArray(layout) && layout.every(isAxis))
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isWhole(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

function isCount(value: unknown): boolean {
  return isWhole(value) && Number(value) > 0
}

function invalid(where: string, message: string): VitpassError {
  return new VitpassError('CONFIG_INVALID', message, { where, remedy: 'see the golden cases of vitpass for the form' })
}

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { OptionsByPass } from '../../src/pipeline/options.ts'
import { type Dense, readSafetensors } from './safetensors.ts'

/** What an export computes in. */
export type Precision = 'fp32' | 'fp16' | 'fp64' | 'bf16' | 'int8'

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
  readonly precision: Precision
  /** Options that this export needs, by pass: what its graph does not show. */
  readonly options?: OptionsByPass
  /** Graph output to the prefix of its golden tensors. */
  readonly outputs: Readonly<Record<string, string>>
  /** Images that the untouched export gets right alone. */
  readonly rightAlone: readonly number[]
  readonly knownWrong?: string
}

/** A folder of golden/: one model's answers from PyTorch, and the exports of that model. */
export interface GoldenCase {
  readonly name: string
  readonly folder: string
  readonly patch: number
  /** Tokens before the patches. */
  readonly prefix: number
  readonly native: readonly [number, number]
  readonly channels: number
  readonly images: readonly GoldenImage[]
  readonly tolerance: Readonly<Record<Precision, number>>
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
  /** What PyTorch answers for image `index` alone, without a batch axis. @throws Error where there is none */
  expected(prefix: string, index: number): Dense
}

/** Names of the cases under `<root>/golden`, sorted. */
export function caseNames(root: string): string[] {
  const folder = join(root, 'golden')
  return readdirSync(folder)
    .filter((name) => existsSync(join(folder, name, 'case.json')))
    .sort()
}

export function loadCase(root: string, name: string): GoldenCase {
  const folder = resolve(root, 'golden', name)
  const described: Omit<GoldenCase, 'folder'> = JSON.parse(readFileSync(join(folder, 'case.json'), 'utf8'))
  const tensors = readSafetensors(join(folder, 'tensors.safetensors'))
  const tensor = (key: string): Dense => {
    const found = tensors.get(key)
    if (found === undefined) throw new Error(`${folder} has no tensor ${key}`)
    return found
  }
  return {
    ...described,
    folder,
    images: described.images.map((image, index) => ({ ...image, index, pixels: tensor(`image.${index}`) })),
    expected: (prefix, index) => tensor(`${prefix}.${index}`),
  }
}

export function exportPath(goldenCase: GoldenCase, entry: ExportEntry): string {
  return resolve(goldenCase.folder, entry.file)
}

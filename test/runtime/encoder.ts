import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll } from 'vitest'
import { registry } from '../../passes/index.ts'
import { readModel, writeModel } from '../../src/onnx/node.ts'
import type { OptionsByPass } from '../../src/pipeline/options.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { type EncoderOptions, type Image, ImageEncoder } from '../../src/runtime/index.ts'
import { exportPath, type GoldenCase, loadCase } from '../support/cases.ts'
import { normals } from '../support/noise.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'vitpass-encoder-'))
const open: ImageEncoder[] = []
let written = 0

afterAll(async () => {
  for (const encoder of open) await encoder.close()
  rmSync(folder, { recursive: true })
})

export function goldenCase(name: string): GoldenCase {
  return loadCase(ROOT, name)
}

/** The path of a case's export. */
export function exportOf(found: GoldenCase, file: string): string {
  const entry = found.models.find((model) => model.file.endsWith(`/${file}`))
  if (entry === undefined) throw new Error(`${found.name} has no ${file}`)
  return exportPath(found, entry)
}

/** Makes an export padding-proof, in a file that lives as long as the tests. */
export async function padproof(path: string, options: OptionsByPass = {}, passes = ['padproof']): Promise<string> {
  const model = await readModel(path)
  runPasses(registry, model, passes, options)
  const target = join(folder, `${written++}.onnx`)
  await writeModel(model, target)
  return target
}

/** Opens an encoder that is closed after the tests. */
export async function encoderFor(source: string | Uint8Array, options: EncoderOptions = {}): Promise<ImageEncoder> {
  const encoder = await ImageEncoder.open(source, { workers: 2, ...options })
  open.push(encoder)
  return encoder
}

export function imagesOf({ images }: GoldenCase): Image[] {
  return images.map(({ pixels }) => {
    const [channels = 0, height = 0, width = 0] = pixels.dims
    return { data: pixels.data, channels, height, width }
  })
}

export function noiseImage(height: number, width: number, seed = height * 1000 + width, channels = 3): Image {
  const next = normals(seed)
  return { data: Float32Array.from({ length: channels * height * width }, next), channels, height, width }
}

/** PyTorch's row for an image alone: its output, or the mean over every axis but that of the features. */
export function expectedRow(found: GoldenCase, output: string, index: number, features: number): Float32Array {
  const prefix = found.models[0]?.outputs[output] ?? output
  const { data, dims } = found.expected(prefix, index)
  const axis = dims.length === 3 ? 0 : dims.length - 1
  const inner = dims.slice(axis + 1).reduce((n, dim) => n * dim, 1)
  const positions = data.length / features
  return Float32Array.from({ length: features }, (_, f) => {
    let sum = 0
    for (let p = 0; p < positions; p++)
      sum += data[Math.floor(p / inner) * features * inner + f * inner + (p % inner)] ?? 0
    return sum / positions
  })
}

/** Largest difference, relative to the largest value where that is above one. */
export function distance(found: Float32Array, expected: Float32Array): number {
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY
  const scale = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 1)
  return found.reduce((most, x, i) => {
    const gap = Math.abs(x - (expected[i] ?? Number.NaN))
    return Number.isNaN(gap) ? Number.POSITIVE_INFINITY : Math.max(most, gap / scale)
  }, 0)
}

export function rowOf({ data, dims }: { data: Float32Array; dims: readonly number[] }, index: number): Float32Array {
  const features = dims.at(-1) ?? 0
  return data.subarray(index * features, (index + 1) * features)
}

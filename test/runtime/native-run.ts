import { resolve } from 'node:path'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { ArrayPool } from '../../src/runtime/array-pool.ts'
import { readEncoderModel } from '../../src/runtime/encoder-model.ts'
import type { Image } from '../../src/runtime/image.ts'
import { nativeStrategy } from '../../src/runtime/native.ts'
import type { Batch, Feeds, Outputs, Strategy } from '../../src/runtime/strategy.ts'
import { expectedRow as expectedGoldenRow } from '../../src/verify/golden-native.ts'
import { caseNames, type ExportEntry, exportPath, type GoldenCase, loadCase } from '../support/cases.ts'
import { fromHalves } from '../support/float16.ts'

const ROOT = resolve(import.meta.dirname, '../..')

export { goldenImages } from '../../src/verify/golden-native.ts'

export const OPTIONS = { batchTokens: 4096, batchBytes: 1 << 26, maxPadding: 0.3, lanes: 1 }

export interface NativeExport {
  readonly name: string
  readonly path: string
  readonly goldenCase: GoldenCase
  readonly entry: ExportEntry
}

/** Exports of models that take any size natively. */
export function nativeExports(): NativeExport[] {
  return caseNames(ROOT).flatMap((name) => {
    const goldenCase = loadCase(ROOT, name)
    if (goldenCase.origin.native !== true) return []
    return goldenCase.models.map((entry) => ({
      name: entry.file.replace('../../fixtures/', ''),
      path: exportPath(goldenCase, entry),
      goldenCase,
      entry,
    }))
  })
}

/** The one export whose name ends so. @throws Error where there is none, or more than one */
export function nativeExport(ending: string): NativeExport {
  const [found, other] = nativeExports().filter(({ name }) => name.endsWith(ending))
  if (found === undefined || other !== undefined) throw new Error(`not one native export ends in ${ending}`)
  return found
}

/** What PyTorch answers for an image alone, its tokens averaged where the export gives tokens. */
export function expectedRow({ goldenCase, entry }: NativeExport, output: string, index: number): number[] {
  return [...expectedGoldenRow(goldenCase, entry, output, index).data]
}

/** The output that rows are made of. */
export async function pooledOutput(path: string): Promise<string> {
  const strategy = nativeStrategy(await readEncoderModel(path), OPTIONS)
  if (typeof strategy === 'string') throw new Error(strategy)
  return strategy.outputs[0] ?? ''
}

/** A native strategy and a session, without the encoder: plans, feeds, runs and divides the answers. */
export class NativeRun {
  readonly strategy: Strategy
  readonly batches: Batch[] = []
  readonly #session: InferenceSession

  private constructor(strategy: Strategy, session: InferenceSession) {
    this.strategy = strategy
    this.#session = session
  }

  static async open(
    source: string | Uint8Array,
    options: Partial<typeof OPTIONS> & { output?: string } = {},
  ): Promise<NativeRun> {
    const strategy = nativeStrategy(await readEncoderModel(source), { ...OPTIONS, ...options })
    if (typeof strategy === 'string') throw new Error(strategy)
    const settings = { intraOpNumThreads: 1, logSeverityLevel: 4 as const }
    const session =
      typeof source === 'string'
        ? await InferenceSession.create(source, settings)
        : await InferenceSession.create(source, settings)
    return new NativeRun(strategy, session)
  }

  async check(): Promise<void> {
    await this.strategy.check?.((feeds) => this.run(feeds))
  }

  async encode(images: readonly Image[]): Promise<Float32Array[]> {
    const rows: Float32Array[] = []
    for (const batch of this.strategy.plan(images)) {
      this.batches.push(batch)
      const feeds = this.strategy.feeds(batch, images, new ArrayPool(0).allocate)
      let step = feeds.next()
      while (step.done !== true) step = feeds.next()
      const made = this.strategy.rows(await this.run(step.value), batch)
      for (const [i, member] of batch.members.entries()) {
        const row = made[i]
        if (row === undefined || rows[member] !== undefined) throw new Error(`image ${member} has not one row`)
        rows[member] = row
      }
    }
    return rows
  }

  async run(feeds: Feeds): Promise<Outputs> {
    const tensors = Object.entries(feeds).map(([name, { type, data, dims }]) => [name, new Tensor(type, data, dims)])
    const results = await this.#session.run(Object.fromEntries(tensors), [...this.strategy.outputs])
    return Object.fromEntries(
      Object.entries(results).map(([name, { data, dims }]) => [
        name,
        { data: data instanceof Uint16Array ? fromHalves(data) : Float32Array.from(data as Float32Array), dims },
      ]),
    )
  }

  async close(): Promise<void> {
    await this.#session.release()
  }
}

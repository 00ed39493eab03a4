import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { VitpassError } from '../errors.ts'
import { onInterrupt } from '../onnx/node-interrupt.ts'
import type { EncoderDescription } from '../runtime/describe.ts'
import { ImageEncoder } from '../runtime/encoder.ts'
import type { EncoderOptions } from '../runtime/encoder-options.ts'
import type { Image } from '../runtime/image.ts'
import type { Preprocessing } from '../runtime/preprocessing.ts'
import { formatOf } from './encode-formats.ts'
import { prepareImages } from './encode-images.ts'
import { RowOutput } from './encode-output.ts'
import type { EncodeProgress } from './encode-progress.ts'

export interface EncodeRequest {
  readonly model: string
  readonly description: EncoderDescription
  readonly preprocessing: Preprocessing
  readonly encoder: EncoderOptions
  readonly output: string
  readonly resume: boolean
  /** Stop at the first image that cannot be encoded. */
  readonly strict: boolean
}

export interface EncodeWatch {
  readonly progress: EncodeProgress
  /** Told of an image that is left out. */
  readonly onFailure: (error: VitpassError) => void
  /** Told when the process is ended from outside. */
  readonly onInterrupt: (rows: number) => void
}

/** What was done. */
export interface EncodeReport {
  readonly model: string
  readonly outputs: readonly string[]
  /** Rows in the output, those of an earlier run counted. */
  readonly rows: number
  readonly resumed: number
  readonly features: number
  readonly failed: readonly { readonly name: string; readonly code: string; readonly message: string }[]
  readonly failures: number
  readonly provider: string
  readonly reasons: readonly unknown[]
  readonly strategy: { readonly kind: string; readonly why: string }
  readonly seconds: number
}

/** Failures that the report tells one by one. */
const TOLD = 1000

/**
 * Encodes images into a file. Decoding, the model and writing go on at the same time; memory does not grow with the number of images.
 * @throws VitpassError of the first image that fails where `strict` is set; FILE_UNWRITABLE; and as `ImageEncoder.open`
 */
export async function encodeFiles(
  request: EncodeRequest,
  sources: AsyncIterable<string>,
  watch: EncodeWatch,
): Promise<EncodeReport> {
  const start = performance.now()
  const state = {
    model: await identify(request.model),
    preprocessing: request.preprocessing,
    output: request.encoder.output ?? null,
  }
  const encoder = await ImageEncoder.open(request.model, { ...request.encoder, onError: 'report' })
  try {
    const output = await RowOutput.open(request.output, formatOf(request.output), state, request.resume)
    const resumed = output.rows
    const release = onInterrupt(() => {
      output.stop()
      watch.onInterrupt(output.rows)
    })
    try {
      const run = new EncodeRun(output, request, watch)
      await run.encode(encoder, sources)
      const features = run.features ?? (await featuresOf(encoder))
      return {
        model: request.model,
        outputs: output.finish(features),
        rows: output.rows,
        resumed,
        features,
        failed: run.failed,
        failures: run.failures,
        provider: encoder.provider,
        reasons: encoder.reasons,
        strategy: encoder.strategy,
        seconds: (performance.now() - start) / 1000,
      }
    } catch (error) {
      output.stop()
      throw error
    } finally {
      release()
    }
  } finally {
    await encoder.close()
  }
}

/** Keeps each row with the name of its image. */
class EncodeRun {
  readonly failed: { name: string; code: string; message: string }[] = []
  failures = 0
  features: number | null = null
  private readonly output: RowOutput
  private readonly request: EncodeRequest
  private readonly watch: EncodeWatch
  /** Images that the encoder has and whose rows have not come. */
  private readonly waiting: string[] = []

  constructor(output: RowOutput, request: EncodeRequest, watch: EncodeWatch) {
    this.output = output
    this.request = request
    this.watch = watch
    this.features = request.description.embedding?.length ?? null
  }

  async encode(encoder: ImageEncoder, sources: AsyncIterable<string>): Promise<void> {
    const rows = encoder.encode(this.images(sources))
    let index = 0
    let told = 0
    for await (const row of rows) {
      const name = this.waiting.shift() ?? ''
      const failure = rows.errors[told]
      if (failure?.index === index) {
        told += 1
        this.fail(name, failure.error)
      } else if (!row.every(Number.isFinite)) {
        const problem = 'the model answers with numbers that are not finite'
        this.fail(name, new VitpassError('BAD_IMAGE', problem, { remedy: 'look at the image, or use a model in fp32' }))
      } else {
        this.features = row.length
        this.output.append(name, row)
        this.watch.progress.step()
      }
      index += 1
    }
  }

  private async *images(sources: AsyncIterable<string>): AsyncGenerator<Image> {
    for await (const prepared of prepareImages(this.remaining(sources), this.request.preprocessing)) {
      if ('error' in prepared) {
        this.fail(prepared.name, prepared.error)
        continue
      }
      this.waiting.push(prepared.name)
      yield prepared.image
    }
  }

  private async *remaining(sources: AsyncIterable<string>): AsyncGenerator<string> {
    for await (const name of sources) {
      if (this.output.takeDone(name)) this.watch.progress.step()
      else yield name
    }
  }

  private fail(name: string, error: VitpassError): void {
    const { code, message, remedy, cause } = error
    const named = new VitpassError(code, message, { where: name, cause, ...(remedy === undefined ? {} : { remedy }) })
    if (this.request.strict) throw named
    this.failures += 1
    if (this.failed.length < TOLD) this.failed.push({ name, code, message })
    this.watch.progress.step()
    this.watch.onFailure(named)
  }
}

/** A row's length, of a model whose file does not say it, for an output without rows. */
async function featuresOf(encoder: ImageEncoder): Promise<number> {
  const { dims } = await encoder.encode([null])
  return dims.at(-1) ?? 0
}

/** What tells one model from another without reading all of it. */
async function identify(model: string): Promise<object> {
  const { size, mtimeMs } = await stat(model)
  return { path: resolve(model), size, mtimeMs }
}

import { InferenceSession, Tensor } from 'onnxruntime-node'
import { fromHalves, toHalves } from './float16.ts'
import type { Dense } from './safetensors.ts'

/** A model for ONNX Runtime: the path of a file, or its bytes. */
export type ModelSource = string | Uint8Array

/** Values for an input: floats, converted to the input's own float type, or int64. */
export type Feed = Dense | { readonly data: BigInt64Array; readonly dims: readonly number[] }

/** One session on the CPU that reads and gives plain float arrays. */
export class OrtRunner {
  readonly #session: InferenceSession

  private constructor(session: InferenceSession) {
    this.#session = session
  }

  static async open(source: ModelSource, threads = 1): Promise<OrtRunner> {
    const options: InferenceSession.SessionOptions = {
      executionProviders: ['cpu'],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      logSeverityLevel: 4,
    }
    const session =
      typeof source === 'string'
        ? await InferenceSession.create(source, options)
        : await InferenceSession.create(source, options)
    return new OrtRunner(session)
  }

  get inputs(): readonly string[] {
    return this.#session.inputNames
  }

  get outputs(): readonly string[] {
    return this.#session.outputNames
  }

  /** Runs once. Outputs are float32, by name. */
  async run(feeds: Readonly<Record<string, Feed>>): Promise<Map<string, Dense>> {
    const results = await this.#session.run(this.prepare(feeds))
    const outputs = new Map<string, Dense>()
    for (const [name, tensor] of Object.entries(results)) outputs.set(name, toDense(name, tensor))
    return outputs
  }

  /** Feeds as ONNX Runtime takes them, for callers that time `runPrepared` alone. */
  prepare(feeds: Readonly<Record<string, Feed>>): Record<string, Tensor> {
    return Object.fromEntries(Object.entries(feeds).map(([name, feed]) => [name, this.#toTensor(name, feed)]))
  }

  async runPrepared(feeds: Readonly<Record<string, Tensor>>): Promise<void> {
    await this.#session.run(feeds)
  }

  async close(): Promise<void> {
    await this.#session.release()
  }

  #toTensor(name: string, feed: Feed): Tensor {
    const dims = [...feed.dims]
    if (feed.data instanceof BigInt64Array) return new Tensor('int64', feed.data, dims)
    const metadata = this.#session.inputMetadata.find((input) => input.name === name)
    if (metadata?.isTensor && metadata.type === 'float16') return new Tensor('float16', toHalves(feed.data), dims)
    return new Tensor('float32', feed.data, dims)
  }
}

function toDense(name: string, tensor: Tensor): Dense {
  const { data, dims } = tensor
  if (data instanceof Float32Array) return { data, dims }
  if (data instanceof Uint16Array) return { data: fromHalves(data), dims }
  throw new Error(`output ${name} is ${tensor.type}; this runner knows float32 and float16`)
}

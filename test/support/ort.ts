import { InferenceSession, Tensor } from 'onnxruntime-node'
import { fromHalves, toHalves } from './float16.ts'
import type { Dense } from './safetensors.ts'

/** A model for ONNX Runtime: the path of a file, or its bytes. */
export type ModelSource = string | Uint8Array

/** `literal` runs every node as the graph has it: fused integer kernels round otherwise than the operators that they stand for. */
export type Reading = 'optimised' | 'literal'

/** Values for an input: floats, converted to the input's own type, or int64. */
export type Feed = Dense | { readonly data: BigInt64Array; readonly dims: readonly number[] }

/** Where models run: `VITPASS_PROVIDER` names one of ONNX Runtime's providers, the CPU if it is not set. */
export const PROVIDER = process.env.VITPASS_PROVIDER ?? 'cpu'

/** One session that reads and gives plain float arrays. */
export class OrtRunner {
  readonly #session: InferenceSession

  private constructor(session: InferenceSession) {
    this.#session = session
  }

  static async open(source: ModelSource, threads = 1, reading: Reading = 'optimised'): Promise<OrtRunner> {
    const options: InferenceSession.SessionOptions = {
      executionProviders: [PROVIDER],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      logSeverityLevel: 4,
      graphOptimizationLevel: reading === 'literal' ? 'disabled' : 'all',
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

  /** Element type and dims (a number, or a name where it is free) that the model declares for an input. */
  declared(input: string): { readonly type: string; readonly dims: readonly (number | string)[] } {
    const found = this.#session.inputMetadata.find(({ name }) => name === input)
    if (!found?.isTensor) throw new Error(`the model has no tensor input ${input}`)
    return { type: found.type, dims: found.shape }
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
    if (metadata?.isTensor && metadata.type === 'float64')
      return new Tensor('float64', Float64Array.from(feed.data), dims)
    if (metadata?.isTensor && metadata.type === 'bool') return new Tensor('bool', Uint8Array.from(feed.data), dims)
    if (metadata?.isTensor && metadata.type === 'uint8') return new Tensor('uint8', Uint8Array.from(feed.data), dims)
    return new Tensor('float32', feed.data, dims)
  }
}

function toDense(name: string, tensor: Tensor): Dense {
  const { data, dims } = tensor
  if (data instanceof Float32Array) return { data, dims }
  if (data instanceof Float64Array) return { data: Float32Array.from(data), dims }
  if (data instanceof Uint16Array) return { data: fromHalves(data), dims }
  if (data instanceof Float64Array) return { data: Float32Array.from(data), dims }
  throw new Error(`output ${name} is ${tensor.type}; this runner knows float32, float16 and float64`)
}

import type { InferenceSession, Tensor } from 'onnxruntime-node'
import { VitpassError } from '../errors.ts'
import { fromFloat16Bits, toFloat16Bits } from '../ir/float-bits.ts'
import type { Feeds, HostTensor, Outputs } from './strategy.ts'

/** A dense array of numbers, row-major. */
export interface Dense {
  readonly data: Float32Array
  readonly dims: readonly number[]
}

/** Values for an input: floats, converted to the input's own type, or int64. */
export type Feed = Dense | { readonly data: BigInt64Array; readonly dims: readonly number[] }

export interface SessionOptions {
  /** ONNX Runtime's names of execution providers, in order of preference. Default `['cpu']`. */
  readonly providers?: readonly string[]
  /** Threads inside an operator. Default: ONNX Runtime's own choice, one for each core. */
  readonly threads?: number
  /** Run every node as the graph has it. By default ONNX Runtime fuses: int8 kernels then round otherwise than their parts. */
  readonly literal?: boolean
  /** Plans memory ahead for each shape that comes up: worth it where few shapes do. Default true. */
  readonly memoryPatterns?: boolean
  /**
   * Uses weights as they lie in the file, so that sessions of a model with external data share its memory: a few to 50 % slower, least for
   * large batches.
   */
  readonly shareWeights?: boolean
}

type Ort = Pick<typeof import('onnxruntime-node'), 'InferenceSession' | 'Tensor'>

/** A model in ONNX Runtime that takes and gives plain arrays. */
export class Session {
  private readonly ort: Ort
  private readonly session: InferenceSession

  private constructor(ort: Ort, session: InferenceSession) {
    this.ort = ort
    this.session = session
  }

  /**
   * Opens a file, or a model's bytes (without external data).
   * @throws VitpassError RUNTIME_MISSING where onnxruntime-node is not installed; RUNTIME_FAILED where it does not take the model
   */
  static async open(source: string | Uint8Array, options: SessionOptions = {}): Promise<Session> {
    const ort = await loadRuntime()
    const settings: InferenceSession.SessionOptions = {
      executionProviders: [...(options.providers ?? ['cpu'])],
      ...(options.threads === undefined ? {} : { intraOpNumThreads: options.threads }),
      interOpNumThreads: 1,
      ...(options.literal === true ? { graphOptimizationLevel: 'disabled' as const } : {}),
      enableMemPattern: options.memoryPatterns ?? true,
      ...(options.shareWeights === true ? { extra: { session: { disable_prepacking: '1' } } } : {}),
      // Fatal messages only: what goes wrong comes as an error.
      logSeverityLevel: 4,
    }
    try {
      const session =
        typeof source === 'string'
          ? await ort.InferenceSession.create(source, settings)
          : await ort.InferenceSession.create(source, settings)
      return new Session(ort, session)
    } catch (cause) {
      throw runtimeError(`ONNX Runtime does not open it with ${settings.executionProviders?.join(', ')}`, cause)
    }
  }

  get inputs(): readonly string[] {
    return this.session.inputNames
  }

  get outputs(): readonly string[] {
    return this.session.outputNames
  }

  /** Element type (in ONNX Runtime's words) and dims (a number, or a name where it is free) that the model declares for an input. */
  declared(input: string): { readonly type: string; readonly dims: readonly (number | string)[] } | null {
    const found = this.session.inputMetadata.find(({ name }) => name === input)
    return found?.isTensor ? { type: found.type, dims: found.shape } : null
  }

  /**
   * Runs once and gives every output as floats, by name. It blocks the calling thread.
   * @throws VitpassError RUNTIME_FAILED with ONNX Runtime's words; MODEL_UNSUPPORTED for element types that it cannot convert
   */
  async run(feeds: Readonly<Record<string, Feed>>): Promise<Map<string, Dense>> {
    const tensors = Object.entries(feeds).map(([name, feed]) => [name, this.toTensor(name, feed)] as const)
    let results: InferenceSession.OnnxValueMapType
    try {
      results = await this.session.run(Object.fromEntries(tensors))
    } catch (cause) {
      throw runtimeError('ONNX Runtime fails', cause)
    }
    return new Map(Object.entries(results).map(([name, tensor]) => [name, toDense(name, tensor)]))
  }

  /**
   * Runs once on tensors as they are and gives the named outputs as floats. It blocks the calling thread.
   * @throws VitpassError RUNTIME_FAILED, MODEL_UNSUPPORTED
   */
  async runHost(feeds: Feeds, outputs: readonly string[]): Promise<Outputs> {
    const tensors = Object.entries(feeds).map(([name, tensor]) => [name, this.fromHost(tensor)] as const)
    let results: InferenceSession.OnnxValueMapType
    try {
      results = await this.session.run(Object.fromEntries(tensors), [...outputs])
    } catch (cause) {
      throw runtimeError('ONNX Runtime fails', cause)
    }
    return Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, toDense(name, tensor)]))
  }

  async close(): Promise<void> {
    await this.session.release()
  }

  private fromHost({ type, data, dims }: HostTensor): Tensor {
    // The overloads of the constructor name one type each.
    return new (this.ort.Tensor as new (type: string, data: unknown, dims: readonly number[]) => Tensor)(
      type,
      data,
      dims,
    )
  }

  private toTensor(name: string, { data, dims }: Feed): Tensor {
    const { Tensor } = this.ort
    if (data instanceof BigInt64Array) return new Tensor('int64', data, [...dims])
    const type = this.declared(name)?.type
    if (type === 'float16') return new Tensor(type, Uint16Array.from(data, toFloat16Bits), [...dims])
    if (type === 'float64') return new Tensor(type, Float64Array.from(data), [...dims])
    if (type === 'uint8') return new Tensor(type, Uint8Array.from(data), [...dims])
    if (type === 'float32') return new Tensor(type, data, [...dims])
    throw new VitpassError('MODEL_UNSUPPORTED', `input ${name} is ${type ?? 'no tensor'}`, {
      remedy: 'only images of float32, float16, float64 and uint8 can be fed',
    })
  }
}

let loading: Promise<Ort> | undefined

/** Loads onnxruntime-node the first time that a model is to be run. */
function loadRuntime(): Promise<Ort> {
  loading ??= import('onnxruntime-node').then(quiet, (cause: unknown) => {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    const why = cause instanceof Error ? oneLine(cause.message) : String(cause)
    // The first is what `import` says, the second what `require` says in the bundled command line.
    const missing = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND'
    const what = missing ? 'is not installed' : `cannot be loaded (${why})`
    throw new VitpassError('RUNTIME_MISSING', `running a model needs onnxruntime-node, which ${what}`, {
      remedy: '`npm install --ignore-scripts onnxruntime-node` installs it (its script would fetch CUDA libraries)',
      cause,
    })
  })
  return loading
}

/** What goes wrong comes as an error; ONNX Runtime would print it besides. */
function quiet(ort: typeof import('onnxruntime-node')): Ort {
  ort.env.logLevel = 'fatal'
  return ort
}

function runtimeError(what: string, cause: unknown): VitpassError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new VitpassError('RUNTIME_FAILED', `${what}: ${oneLine(why)}`, { cause })
}

/** ONNX Runtime's message without its source location and line breaks. */
function oneLine(message: string): string {
  return message
    .replace(/\s+/g, ' ')
    .replace(/\/[^ ]*\/onnxruntime\/[^ ]+:\d+ (?:[\w:~<>&* ,]+\([^)]*\)(?: const)? )?/g, '')
    .trim()
}

function toDense(name: string, { data, dims, type }: Tensor): Dense {
  if (data instanceof Float32Array) return { data, dims }
  if (data instanceof Float64Array) return { data: Float32Array.from(data), dims }
  if (data instanceof Uint16Array && type === 'float16') return { data: Float32Array.from(data, fromFloat16Bits), dims }
  throw new VitpassError('MODEL_UNSUPPORTED', `output ${name} is ${type}, which is no float type that can be read`)
}

import type { Model } from '../src/ir/model.ts'
import { floatTensor } from '../src/ir/tensor-data.ts'
import { serializeModel } from '../src/onnx/serialize.ts'
import { ThreadLane } from '../src/runtime/thread-lane.ts'
import { sketch } from '../test/support/graphs.ts'
import { normals } from '../test/support/noise.ts'

const TOKENS = 512
const PAIRS = 12

/** Calls in a run, so that waking up and filling caches do not count. */
const CALLS = 8

/** How fast the machine multiplies matrices of the shapes of a transformer's MLP, all workers at once, and nothing else. */
export class MatmulBound {
  /** Floating-point operations of one `run`. */
  readonly flops: number
  private readonly lanes: readonly ThreadLane[]
  private readonly hidden: number
  private readonly noise: Float32Array

  private constructor(lanes: readonly ThreadLane[], hidden: number) {
    this.lanes = lanes
    this.hidden = hidden
    this.noise = Float32Array.from({ length: TOKENS * hidden }, normals(2))
    this.flops = CALLS * lanes.length * PAIRS * 2 * TOKENS * 2 * hidden * 4 * hidden
  }

  static async open(hidden: number, workers: number): Promise<MatmulBound> {
    const next = normals(1)
    // Of a scale that keeps products as large as what they are made of.
    const weights = (rows: number, cols: number) =>
      floatTensor(
        [rows, cols],
        Array.from({ length: rows * cols }, () => next() / Math.sqrt(rows)),
      )
    const { model } = sketch(18, { x: [TOKENS, hidden] }, (builder, [x]) => {
      if (x === undefined) throw new Error('a sketch gives its inputs')
      let value = x
      for (let i = 0; i < PAIRS; i++) {
        const wide = builder.matMul(value, builder.constant(weights(hidden, 4 * hidden)))
        value = builder.matMul(wide, builder.constant(weights(4 * hidden, hidden)))
      }
      return [value]
    })
    const bytes = serializeModel(model)
    const lanes = await Promise.all(Array.from({ length: workers }, () => ThreadLane.open(bytes, { threads: 1 })))
    return new MatmulBound(lanes, hidden)
  }

  async run(): Promise<void> {
    const dims = [TOKENS, this.hidden]
    const feeds = () => ({ x: { type: 'float32' as const, data: this.noise.slice(), dims } })
    await Promise.all(
      this.lanes.map(async (lane) => {
        for (let i = 0; i < CALLS; i++) await lane.run(feeds(), ['y0'])
      }),
    )
  }

  async close(): Promise<void> {
    await Promise.all(this.lanes.map((lane) => lane.close()))
  }
}

/** Multiplications and additions that a transformer spends on images of so many tokens: weights for each token, and pairs of tokens. */
export function usefulFlops(model: Model, hidden: number, tokens: readonly number[]): number {
  const matrices = model.graph.initializers.flatMap(({ tensor }) =>
    tensor?.dims.length === 2 ? [(tensor.dims[0] ?? 0) * (tensor.dims[1] ?? 0)] : [],
  )
  const weights = matrices.reduce((sum, size) => sum + size, 0)
  const layers = model.graph.nodes.filter((node) => node.is('Softmax')).length
  return tokens.reduce((sum, t) => sum + 2 * t * weights + 4 * layers * t * t * hidden, 0)
}

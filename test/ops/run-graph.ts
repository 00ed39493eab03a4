import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node'
import type { DType } from '../../src/ir/dtype.ts'
import { Graph } from '../../src/ir/graph.ts'
import { Model } from '../../src/ir/model.ts'
import { Value } from '../../src/ir/value.ts'
import { verify } from '../../src/ir/verify.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { Builder } from '../../src/ops/builder.ts'
import type { BuilderOptions } from '../../src/ops/emitter.ts'
import { fromHalves, toHalves } from '../support/float16.ts'

/** An input: its type, dims and elements. */
export interface Fed {
  readonly dtype: 'float' | 'float16' | 'int64' | 'int32' | 'bool'
  readonly dims: readonly number[]
  readonly data: readonly number[]
}

export interface Got {
  readonly dtype: string
  readonly dims: readonly number[]
  readonly data: readonly number[]
}

export const float = (dims: readonly number[], data: readonly number[]): Fed => ({ dtype: 'float', dims, data })
export const int64 = (dims: readonly number[], data: readonly number[]): Fed => ({ dtype: 'int64', dims, data })
export const bool = (dims: readonly number[], data: readonly number[]): Fed => ({ dtype: 'bool', dims, data })

/** A graph with declared inputs and a builder over it. */
export function newGraph(opset: number, inputs: readonly Fed[], options: BuilderOptions = {}, ranks = true) {
  const graph = new Graph('test')
  const values = inputs.map((fed, at) => {
    const value = new Value(`x${at}`)
    const dims = ranks ? fed.dims.map((_, axis) => `x${at}_${axis}`) : null
    value.type = { kind: 'tensor', dtype: fed.dtype as DType, dims }
    graph.addInput(value)
    return value
  })
  return { graph, values, b: new Builder(graph, opset, options) }
}

/** Builds a model around what `build` emits, writes it and runs it in ONNX Runtime. */
export async function runBuilt(
  opset: number,
  inputs: readonly Fed[],
  build: (b: Builder, ...values: Value[]) => Value | readonly Value[],
): Promise<{ readonly results: readonly Got[]; readonly ops: readonly string[] }> {
  const { graph, values, b } = newGraph(opset, inputs)
  const built = build(b, ...values)
  const outputs: readonly Value[] = built instanceof Value ? [built] : built
  for (const output of outputs) {
    // An Identity keeps inputs and constants apart from outputs, and gives each output a type of its own.
    const [carrier] = graph.emit('Identity', [output], { base: 'out' })
    if (carrier === undefined) continue
    const dtype = b.dtypeOf(output)
    if (dtype !== undefined) carrier.type = { kind: 'tensor', dtype, dims: null }
    graph.addOutput(carrier)
  }
  const ops = graph.nodes.slice(0, graph.nodes.length - outputs.length).map((node) => node.opType)
  const model = new Model(9, new Map([['', opset]]), graph)
  verify(model)
  const session = await InferenceSession.create(serializeModel(model), { logSeverityLevel: 3, intraOpNumThreads: 1 })
  const feeds = Object.fromEntries(inputs.map((fed, at) => [`x${at}`, toOrt(fed)]))
  const got = await session.run(feeds)
  const results = graph.outputs.map((output) => fromOrt(got[output.name] as OrtTensor))
  await session.release()
  return { results, ops }
}

function toOrt({ dtype, dims, data }: Fed): OrtTensor {
  switch (dtype) {
    case 'float':
      return new OrtTensor('float32', Float32Array.from(data), dims)
    case 'float16':
      return new OrtTensor('float16', toHalves(Float32Array.from(data)), dims)
    case 'int64':
      return new OrtTensor('int64', BigInt64Array.from(data, BigInt), dims)
    case 'int32':
      return new OrtTensor('int32', Int32Array.from(data), dims)
    case 'bool':
      return new OrtTensor('bool', Uint8Array.from(data), dims)
  }
}

function fromOrt(tensor: OrtTensor): Got {
  if (tensor.data instanceof Uint16Array)
    return { dtype: tensor.type, dims: tensor.dims, data: [...fromHalves(tensor.data)] }
  const data = Array.from(tensor.data as Iterable<number | bigint>, Number)
  return { dtype: tensor.type, dims: tensor.dims, data }
}

import type { DType } from '../ir/dtype.ts'
import type { Graph } from '../ir/graph.ts'
import type { Model } from '../ir/model.ts'
import type { Node } from '../ir/node.ts'
import { readProvenance } from '../ir/provenance.ts'
import type { DeclaredDim, Value } from '../ir/value.ts'
import { readModel } from '../onnx/node.ts'
import { parseModel } from '../onnx/parse.ts'
import type { Size } from './image.ts'

/** An input or output as the file declares it. */
export interface Port {
  readonly name: string
  readonly dtype: DType
  /** Null where the rank is not said. */
  readonly dims: readonly DeclaredDim[] | null
}

/** What vitpass wrote into a model about itself. */
export interface Applied {
  /** Names of the passes, in order. */
  readonly passes: readonly string[]
  /** Tokens behind the patches, as `mask` found them. */
  readonly suffix: number
  /** How the graph tells image from padding; null where it does not. */
  readonly validity: {
    readonly source: 'pixels' | 'sizes'
    readonly mode: 'rect' | 'patch'
    readonly padValue: number
    readonly tol: number
  } | null
}

/** What is known of a model from its file, before it runs. */
export interface EncoderModel {
  /** Inputs that the caller must give: those without an initializer. */
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  readonly metadata: ReadonlyMap<string, string>
  readonly applied: Applied
  /** Stride of the convolution that turns pixels into patches, where its kernels lie side by side and cover no padding. */
  readonly patch: Size | null
  /** Values of this many bytes are its weights. */
  readonly weightBytes: number
  /** Element types of its weights. */
  readonly weightTypes: ReadonlySet<DType>
}

/**
 * Reads inputs, outputs, metadata and the patch size off a model's file or bytes; its weights stay where they are.
 * @throws VitpassError FILE_NOT_FOUND, FILE_UNREADABLE, NOT_ONNX, MODEL_TRUNCATED, MODEL_INVALID, EXTERNAL_DATA
 */
export async function readEncoderModel(source: string | Uint8Array): Promise<EncoderModel> {
  const model = typeof source === 'string' ? await readModel(source) : parseModel(source)
  const inputs = model.graph.inputs.filter(({ tensor }) => tensor === null)
  return {
    inputs: inputs.map(portOf),
    outputs: model.graph.outputs.map(portOf),
    metadata: new Map(model.metadata),
    applied: appliedTo(model),
    patch: patchOf(inputs),
    weightBytes: weightBytes(model.graph),
    weightTypes: new Set(model.graph.initializers.flatMap(({ dtype }) => dtype ?? [])),
  }
}

function portOf(value: Value): Port {
  return { name: value.name, dtype: value.dtype ?? 'undefined', dims: value.declaredDims }
}

function appliedTo(model: Model): Applied {
  const { passes, validity, suffix } = readProvenance(model)
  return {
    suffix: suffix ?? 0,
    passes: passes.map(({ name }) => name),
    validity:
      validity === undefined
        ? null
        : {
            source: validity.source === 'sizes' ? 'sizes' : 'pixels',
            mode: validity.mode === 'patch' ? 'patch' : 'rect',
            padValue: Number(validity.padValue ?? 0),
            tol: Number(validity.tol ?? 0),
          },
  }
}

/** Operators that treat each pixel by itself, as preprocessing kept inside a graph does. */
const PER_PIXEL = new Set([
  'Cast',
  'Identity',
  'Mul',
  'Div',
  'Add',
  'Sub',
  'Clip',
  'QuantizeLinear',
  'DequantizeLinear',
])

function patchOf(inputs: readonly Value[]): Size | null {
  const pending = [...inputs]
  const seen = new Set<Value>(pending)
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    for (const user of value.users) {
      if (user.opType === 'Conv' || user.opType === 'FusedConv') return strideOf(user)
      if (!PER_PIXEL.has(user.opType)) continue
      for (const output of user.outputs) {
        if (output === null || seen.has(output)) continue
        seen.add(output)
        pending.push(output)
      }
    }
  }
  return null
}

function strideOf(conv: Node): Size | null {
  const [kernelHeight, kernelWidth] = conv.ints('kernel_shape') ?? conv.input(1)?.declaredDims?.slice(2) ?? []
  const [height, width] = conv.ints('strides') ?? []
  const padded =
    (conv.ints('pads') ?? []).some((pad) => pad !== 0) || conv.string('auto_pad', 'NOTSET').startsWith('SAME')
  if (height === undefined || width === undefined || padded) return null
  return kernelHeight === height && kernelWidth === width ? { height, width } : null
}

function weightBytes(graph: Graph): number {
  const sizes = graph.initializers.map(({ tensor }) =>
    tensor === null ? 0 : tensor.dims.reduce((n, dim) => n * dim, 1),
  )
  return 4 * sizes.reduce((sum, size) => sum + size, 0)
}

import { VitpassError } from '../errors.ts'
import type { Model } from '../ir/model.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { isConvolution, kernelDims } from './weights.ts'

/** The image input and the convolution that cuts it into patches. */
export interface PatchEmbedding {
  /** Graph input [batch, channels, height, width]. */
  readonly pixels: Value
  readonly conv: Node
  /** Patch size in pixels, which is also the stride. */
  readonly height: number
  readonly width: number
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
  'Where',
  'QuantizeLinear',
  'DynamicQuantizeLinear',
  'DequantizeLinear',
])

/** Inputs that the caller must give: graph inputs that are not initializers. */
export function callerInputs(model: Model): Value[] {
  return model.graph.inputs.filter((value) => value.tensor === null)
}

/**
 * Finds the patch embedding by data flow from the image input.
 * @throws VitpassError MODEL_UNSUPPORTED when there is no image input, or when what reads it is no patch embedding
 */
export function findPatchEmbedding(model: Model): PatchEmbedding {
  const images = callerInputs(model).filter((value) => (value.declaredDims?.length ?? 4) === 4)
  if (images.length === 0) {
    const names = callerInputs(model).map((value) => `${value.name} of rank ${value.declaredDims?.length ?? '?'}`)
    throw new VitpassError('MODEL_UNSUPPORTED', `no image input: the model takes ${names.join(', ') || 'nothing'}`, {
      remedy: 'give a vision encoder whose input is [batch, channels, height, width]',
    })
  }
  const found = images.flatMap((pixels) => firstConvs(pixels).map((conv) => ({ pixels, conv })))
  const [first] = found
  const nchwc = model.graph.nodes.find((node) => node.domain === 'com.microsoft.nchwc')
  if (first === undefined && nchwc !== undefined) {
    throw new VitpassError('MODEL_UNSUPPORTED', 'the graph is laid out for one processor (NCHWc)', {
      node: nchwc.label,
      remedy: 'save it from ONNX Runtime at optimisation level EXTENDED or below, or start from the export itself',
    })
  }
  if (first === undefined) {
    throw new VitpassError('MODEL_UNSUPPORTED', `no convolution reads the image input ${images[0]?.name}`, {
      remedy: 'only encoders whose patches are made by a convolution are understood so far',
    })
  }
  const second = found.find(({ pixels }) => pixels !== first.pixels)
  if (second !== undefined) {
    throw new VitpassError(
      'MODEL_UNSUPPORTED',
      `convolutions read two image inputs, ${first.pixels.name} and ${second.pixels.name}`,
      { node: second.conv.label, remedy: 'export the encoder of each image input by itself' },
    )
  }
  if (found.length > 1) {
    throw new VitpassError(
      'MODEL_UNSUPPORTED',
      `${found.length} convolutions read the image input ${first.pixels.name}`,
      {
        node: found[1]?.conv.label ?? '',
        remedy: 'a vision transformer cuts its patches with one; encode this model in groups of equal size instead',
      },
    )
  }
  return { ...first, ...patchSize(first.conv) }
}

function firstConvs(pixels: Value): Node[] {
  const convs: Node[] = []
  const pending = [pixels]
  const seen = new Set<Value>(pending)
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    for (const user of value.users) {
      if (isConvolution(user)) convs.push(user)
      if (user.domain !== '' || !PER_PIXEL.has(user.opType)) continue
      // The scale and the zero point beside a quantised image are no image.
      for (const output of user.is('DynamicQuantizeLinear') ? [user.output(0)] : user.outputs) {
        if (output === null || seen.has(output)) continue
        seen.add(output)
        pending.push(output)
      }
    }
  }
  return [...new Set(convs)]
}

function patchSize(conv: Node): { height: number; width: number } {
  const kernel = conv.ints('kernel_shape') ?? kernelDims(conv)?.slice(2)
  const [height, width] = kernel ?? []
  const strides = conv.ints('strides') ?? [1, 1]
  const refuse = (found: string): never => {
    throw new VitpassError('MODEL_UNSUPPORTED', `the first convolution is no patch embedding: ${found}`, {
      node: conv.label,
      remedy:
        'this looks like a convolutional network, whose outputs mix neighbours: encode it in groups of equal size',
    })
  }
  if (typeof height !== 'number' || typeof width !== 'number') return refuse('its kernel size is not known')
  if (strides[0] !== height || strides[1] !== width)
    return refuse(`kernel ${height}x${width}, stride ${strides.join('x')}`)
  if (height === 1 && width === 1) return refuse('its kernel is a single pixel')
  if ((conv.ints('dilations') ?? []).some((d) => d !== 1)) return refuse('it is dilated')
  if ((conv.ints('pads') ?? []).some((p) => p !== 0) || conv.string('auto_pad', 'NOTSET').startsWith('SAME')) {
    return refuse('it pads the image, so its grid is not that of whole patches')
  }
  return { height, width }
}

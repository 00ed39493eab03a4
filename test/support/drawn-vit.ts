import type { FloatType } from '../../src/ir/dtype.ts'
import type { Graph } from '../../src/ir/graph.ts'
import type { Model } from '../../src/ir/model.ts'
import { floatTensor } from '../../src/ir/tensor-data.ts'
import type { DeclaredDim, Value } from '../../src/ir/value.ts'
import type { Builder } from '../../src/ops/builder.ts'
import type { ConvOptions } from '../../src/ops/generated/builders.ts'
import { compute, noise, open, sketch } from './graphs.ts'
import { type Axis, maskedPart, ownPart, type Placement } from './layout.ts'
import type { Reading } from './ort.ts'
import { gridOf, item, padBatch, type Size } from './padded.ts'
import type { Dense } from './safetensors.ts'

/** Patch size in pixels, width of a token, and heads of drawn transformers. */
export const PATCH = 4
export const WIDTH = 8
export const HEADS = 2

/** What a drawn transformer is made with. */
export interface Pen {
  readonly b: Builder
  readonly graph: Graph
  /** [batch, 3, height, width] */
  readonly pixels: Value
  /** [batch, 8, rows, columns] */
  readonly grid: Value
  /** [batch, patches, 8], in reading order */
  readonly tokens: Value
}

export interface Drawing {
  readonly opset?: number
  /** Declared axes of the image: [batch, 3, height, width] by default. */
  readonly dims?: readonly DeclaredDim[]
  /** Factor on the weights of the patch convolution; with 0 every patch is the same. */
  readonly gain?: number
  readonly conv?: ConvOptions
  /** What the patch convolution computes in. */
  readonly dtype?: FloatType
  /** What is done to the image before it is cut into patches. */
  readonly prepare?: (b: Builder, pixels: Value) => Value
}

/** A model that cuts an image into patches of 4 pixels and hands them to `draw`, which returns the outputs. */
export function drawVit(draw: (pen: Pen) => readonly Value[], drawing: Drawing = {}): Model {
  const { opset = 17, dims = ['batch', 3, 'height', 'width'], gain = 1, conv = {}, prepare, dtype = 'float' } = drawing
  const { model } = sketch(opset, { pixels: dims }, (b, [pixels], graph) => {
    if (pixels === undefined) return []
    const kernel = conv.kernel_shape ?? [PATCH, PATCH]
    const typed = (x: Value) => (dtype === 'float' ? x : b.cast(x, { to: dtype }))
    const weight = typed(weights(b, [WIDTH, 3, ...kernel], 1, gain / 2))
    const bias = typed(weights(b, [WIDTH], 2))
    const image = prepare === undefined ? pixels : prepare(b, pixels)
    const grid = b.conv(image, weight, { bias, kernel_shape: kernel, strides: [PATCH, PATCH], ...conv })
    const rows = b.reshape(grid, b.int64([0, WIDTH, -1]))
    return draw({ b, graph, pixels, grid, tokens: b.transpose(rows, { perm: [0, 2, 1] }) })
  })
  model.setOpset('com.microsoft', 1)
  return model
}

/** A constant of seeded numbers between -2 and 2, times `gain`. */
export function weights(b: Builder, dims: readonly number[], seed: number, gain = 0.4): Value {
  return b.constant(
    floatTensor(
      dims,
      noise(dims, seed * 7919).data.map((x) => x * gain),
    ),
  )
}

/** Puts one learned token in front: [batch, 1 + patches, 8]. */
export function withClassToken({ b, tokens }: Pen): Value {
  const batch = b.gather(b.shape(tokens), b.int64([0]), { axis: 0 })
  const shape = b.concat([batch, b.int64([1, WIDTH])], { axis: 0 })
  return b.concat([b.expand(weights(b, [1, 1, WIDTH], 3), shape), tokens], { axis: 1 })
}

/** [batch, tokens, 8] by a matrix: a projection. */
export function project(b: Builder, x: Value, seed: number): Value {
  return b.matMul(x, weights(b, [WIDTH, WIDTH], seed))
}

/** [batch, tokens, 8] to [batch, heads, tokens, 4]. */
export function inHeads(b: Builder, x: Value): Value {
  return b.transpose(b.reshape(x, b.int64([0, 0, HEADS, WIDTH / HEADS])), { perm: [0, 2, 1, 3] })
}

/** Scores [batch, heads, tokens, tokens] of tokens among each other. */
export function scoresOf(b: Builder, x: Value, seed: number): Value {
  const keys = b.transpose(inHeads(b, project(b, x, seed + 1)), { perm: [0, 1, 3, 2] })
  return b.mul(b.matMul(inHeads(b, project(b, x, seed)), keys), b.float(0.5))
}

/** A residual attention block; `bias` may change the scores before their softmax. */
export function attend(b: Builder, x: Value, seed = 10, bias: (scores: Value) => Value = (s) => s): Value {
  const probabilities = b.softmax(bias(scoresOf(b, x, seed)), { axis: -1 })
  const mixed = b.matMul(probabilities, inHeads(b, project(b, x, seed + 2)))
  const merged = b.reshape(b.transpose(mixed, { perm: [0, 2, 1, 3] }), b.int64([0, 0, WIDTH]))
  return b.add(x, b.matMul(merged, weights(b, [WIDTH, WIDTH], seed + 3)))
}

/** [batch, 2]: an image input's last two axes as the patch embedding leaves them, as a shape [2]. */
export function gridShape({ b, grid }: Pen): Value {
  return b.slice(b.shape(grid), { starts: [2], ends: [4], axes: [0] })
}

/** A seeded image [3, height, width] without a zero. */
export function drawnImage({ height, width }: Size, seed = 1): Dense {
  const { data, dims } = noise([3, height, width], seed)
  return { data: data.map((x) => (x === 0 ? 1 : x)), dims }
}

export interface PaddedDifference {
  /** Largest difference of any image's own part to what the original answers for it alone, by the size of that answer. */
  readonly own: number
  /** Largest absolute value at padding. */
  readonly padding: number
}

/**
 * Runs images of several sizes through `transformed` in one padded batch, and each alone through `original`.
 * @param layouts axes of each output behind the batch, such as `['tokens', 'fixed']`
 */
export async function paddedAgainstAlone(
  models: { readonly original: Model; readonly transformed: Model },
  layouts: Readonly<Record<string, readonly Axis[]>>,
  sizes: readonly Size[],
  prefix = 0,
  reading?: Reading,
): Promise<PaddedDifference> {
  const images = sizes.map((size, i) => drawnImage(size, i + 1))
  const over = (lengths: number[]) => Math.max(...lengths) + PATCH
  const canvas = { height: over(sizes.map(({ height }) => height)), width: over(sizes.map(({ width }) => width)) }
  const together = await compute(models.transformed, { pixels: padBatch(images, canvas) }, reading)
  const original = await open(models.original, reading)
  let [own, padding] = [0, 0]
  for (const [i, image] of images.entries()) {
    const size = sizes[i] as Size
    const alone = await original.run({ pixels: { data: image.data, dims: [1, ...image.dims] } })
    const placement: Placement = { prefix, padded: gridOf(canvas, PATCH), own: gridOf(size, PATCH), hidden: [] }
    for (const [name, layout] of Object.entries(layouts)) {
      const got = item(together.get(name) as Dense, i)
      const part = ownPart(got, layout, placement)
      const wanted = item(alone.get(name) as Dense, 0)
      if (part.data.length !== wanted.data.length) throw new Error(`${name} is [${part.dims}], not [${wanted.dims}]`)
      const scale = Math.max(1, ...wanted.data.map(Math.abs))
      part.data.forEach((x, at) => {
        const difference = Math.abs(x - (wanted.data[at] ?? Number.NaN)) / scale
        own = Math.max(own, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference)
      })
      for (const x of maskedPart(got, layout, placement)) padding = Math.max(padding, Math.abs(x))
    }
  }
  await original.close()
  return { own, padding }
}

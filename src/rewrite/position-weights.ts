import type { ResizeKind } from '../analysis/resize-kind.ts'
import type { Value } from '../ir/value.ts'
import type { Builder } from '../ops/builder.ts'

/** One axis of a resize: from `native` table entries to each image's own length, on the padded grid. */
export interface ResizeAxis {
  readonly kind: ResizeKind
  /** Entries of the table along this axis. */
  readonly native: number
  /** [batch, 1 or positions, 1] float: each image's own length in patches. */
  readonly length: Value
  /** [positions] float: 0, 1, 2, ... along the padded grid. */
  readonly index: Value
  /** [batch, 1, 1] float: what is added to the length before the scale is taken; null for nothing. */
  readonly offset: Value | null
}

/** Entries by which the table is padded with its edge on either side: a cubic kernel without antialias reaches two beyond. */
export function tableMargin(kind: ResizeKind): number {
  return kind === 'cubic' || kind === 'cubic-corners' ? 2 : 0
}

/**
 * Weights of a one-dimensional resize, [batch, positions, native + 2 * margin] in float: row i of image b holds what each table
 * entry contributes to position i. Rows at or beyond the image's length are 0. Computed in single precision whatever the model's.
 *
 * With s = native / (length + offset), half-pixel centres c = (i + 0.5) s:
 * - cubic: Keys' kernel with a = -0.75 at c - 0.5 - j, edges clamped (torch `interpolate(mode='bicubic')`);
 * - cubic-corners: the same kernel at i (native - 1) / (length - 1) - j, corners on corners
 *   (torch `interpolate(mode='bicubic', align_corners=True)`, as torchvision resizes its tables);
 * - bilinear: the triangle at the clamped c - 0.5;
 * - aa-cubic, aa-bilinear: kernel (a = -0.5) stretched by max(s, 1) and normalised over the entries that exist
 *   (torch `interpolate(antialias=True)`).
 */
export function resizeWeights(builder: Builder, axis: ResizeAxis): Value {
  const { kind, native, length, index } = axis
  const f = (x: number) => builder.float(x)
  const wide = axis.offset === null ? length : builder.add(length, axis.offset)
  const scale = builder.div(f(native), builder.max([wide, f(1)]))
  const position = builder.unsqueeze(index, { axes: [0, 2] })
  const centre = builder.mul(builder.add(position, f(0.5)), scale)
  const margin = tableMargin(kind)
  const entries = builder.float(Array.from({ length: native + 2 * margin }, (_, j) => j - margin))
  const inside = builder.cast(builder.less(position, length), { to: 'float' })
  if (kind === 'cubic') {
    const distance = builder.abs(builder.sub(builder.sub(centre, f(0.5)), entries))
    return builder.mul(keys(builder, distance, -0.75), inside)
  }
  if (kind === 'cubic-corners') {
    const apart = builder.div(f(native - 1), builder.max([builder.sub(length, f(1)), f(1)]))
    const distance = builder.abs(builder.sub(builder.mul(position, apart), entries))
    return builder.mul(keys(builder, distance, -0.75), inside)
  }
  if (kind === 'bilinear') {
    const source = builder.min([builder.max([builder.sub(centre, f(0.5)), f(0)]), f(native - 1)])
    return builder.mul(triangle(builder, builder.abs(builder.sub(source, entries))), inside)
  }
  const stretch = builder.max([scale, f(1)])
  const distance = builder.abs(builder.div(builder.sub(centre, builder.add(entries, f(0.5))), stretch))
  const weights = builder.mul(kind === 'aa-cubic' ? keys(builder, distance, -0.5) : triangle(builder, distance), inside)
  const total = builder.reduceSum(weights, { axes: [2], keepdims: 1 })
  // Rows beyond the image sum to 0: divide those by 1.
  return builder.div(weights, builder.where(builder.greater(inside, f(0)), total, f(1)))
}

/**
 * Keys' cubic convolution kernel (IEEE Trans. ASSP 29, 1981) of a distance x >= 0, with parameter a. Both of its pieces are one
 * formula of t = max(2 - x, 0) and u = max(1 - x, 0): a t^2 (1 - t) + u^2 (4a + 3 - 2u), exact at whole distances.
 */
function keys(builder: Builder, distance: Value, a: number): Value {
  const f = (x: number) => builder.float(x)
  const t = builder.relu(builder.sub(f(2), distance))
  const above = builder.sub(t, f(1))
  const u = builder.relu(above)
  const outer = builder.mul(builder.mul(builder.mul(t, t), above), f(-a))
  const bend = 4 * a + 3 === 0 ? builder.mul(u, f(2)) : builder.sub(builder.mul(u, f(2)), f(4 * a + 3))
  return builder.sub(outer, builder.mul(builder.mul(u, u), bend))
}

function triangle(builder: Builder, distance: Value): Value {
  return builder.max([builder.sub(builder.float(1), distance), builder.float(0)])
}

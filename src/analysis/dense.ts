import type { Dim } from '../ir/dim.ts'
import { layoutKey } from '../ir/dim.ts'
import type { Node } from '../ir/node.ts'
import { dependsOnSize, gridAxes } from './grid.ts'
import type { Trace } from './trace.ts'

/** Why a convolution over the patch grid cannot be made right. */
export const CONVOLVED = 'a convolution after the patch embedding mixes neighbours, padded ones among them'

/** Operators of dense heads that blend neighbouring patches in a way that zeros at padding do not make right. */
export const BLENDS = new Set([
  'Resize',
  'Upsample',
  'ConvTranspose',
  'MaxPool',
  'AveragePool',
  'LpPool',
  'InstanceNormalization',
  'GroupNormalization',
  'DepthToSpace',
  'SpaceToDepth',
])

/** The lengths of a convolution's kernel. */
export function kernelOf(node: Node): readonly number[] {
  return node.ints('kernel_shape') ?? node.input(1)?.tensor?.dims.slice(2) ?? []
}

/**
 * What a convolution does to patches. `apart`: it sees each alone. `zeros`: it keeps the grid [batch, channels, rows, columns], which it
 * surrounds by zeros, so that zeros at padding are to an image what its own edge is. `mixes`: anything else.
 */
export function convolves(
  node: Node,
  from: readonly Dim[],
  to: readonly Dim[] | null,
  trace: Trace,
): 'apart' | 'zeros' | 'mixes' {
  const kernel = kernelOf(node)
  if (!from.slice(2).some(dependsOnSize)) return 'apart'
  const step = (node.ints('strides') ?? []).some((stride) => stride !== 1)
  if (!step && kernel.length > 0 && kernel.every((length) => length === 1)) return 'apart'
  const [rows, cols] = gridAxes(from, trace)
  const keeps = from.length === 4 && to?.length === 4 && [2, 3].every((axis) => sameAxis(from[axis], to[axis]))
  const first = from[0]
  return !step && keeps && rows === 2 && cols === 3 && first !== undefined && layoutKey(first) === 'batch'
    ? 'zeros'
    : 'mixes'
}

function sameAxis(a: Dim | undefined, b: Dim | undefined): boolean {
  return a !== undefined && b !== undefined && layoutKey(a) === layoutKey(b)
}

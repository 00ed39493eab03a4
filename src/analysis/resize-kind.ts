import { VitpassError } from '../errors.ts'
import type { Node } from '../ir/node.ts'
import { type Facts, listOf } from './facts.ts'

/** How a position table is resized to another grid. */
export const RESIZE_KINDS = ['cubic', 'bilinear', 'aa-cubic', 'aa-bilinear', 'cubic-corners'] as const

export type ResizeKind = (typeof RESIZE_KINDS)[number]

/** Reads a Resize node's interpolation; refuses what differs from every known library's. */
export function readResize(
  node: Node,
  facts: Facts,
  opset: number,
  native: readonly [number, number],
  given: ResizeKind | null,
): { kind: ResizeKind; offset: number } {
  const refuse = (found: string): never => {
    throw new VitpassError('PASS_REFUSED', `the position table's Resize has ${found}`, {
      node: node.label,
      remedy:
        'say how the library resizes it with --option posenc.kind=cubic|bilinear|aa-cubic|aa-bilinear|cubic-corners',
    })
  }
  const offset = () => (node.input(3) === null ? scaleOffset(node, facts, opset, native, refuse) : 0)
  if (given !== null) return { kind: given, offset: offset() }
  const mode = node.string('mode', 'nearest')
  const antialias = node.int('antialias', 0) === 1
  const exclude = node.int('exclude_outside', 0) === 1
  const coordinates = node.string('coordinate_transformation_mode', 'half_pixel')
  const a = node.float('cubic_coeff_a', -0.75)
  if (coordinates === 'align_corners' && mode === 'cubic' && !antialias && !exclude && Math.abs(a + 0.75) < 1e-6) {
    return { kind: 'cubic-corners', offset: 0 }
  }
  if (coordinates !== 'half_pixel' && coordinates !== 'pytorch_half_pixel') refuse(`coordinates "${coordinates}"`)
  if (antialias !== exclude)
    refuse(antialias ? 'antialias without exclude_outside' : 'exclude_outside without antialias')
  if (mode === 'cubic' && Math.abs(a - (antialias ? -0.5 : -0.75)) > 1e-6) refuse(`cubic_coeff_a ${a}`)
  if (mode !== 'cubic' && mode !== 'linear') refuse(`mode "${mode}"`)
  const kind: ResizeKind =
    mode === 'cubic' ? (antialias ? 'aa-cubic' : 'cubic') : antialias ? 'aa-bilinear' : 'bilinear'
  return { kind, offset: offset() }
}

/** The 0.1 that older exports add: scales are (n + 0.1) / G there, so `scale * G - n` is 0.1. */
function scaleOffset(
  node: Node,
  facts: Facts,
  opset: number,
  native: readonly [number, number],
  refuse: (found: string) => never,
): number {
  const contents = facts.contents(node.input(opset < 11 ? 1 : 2))
  const scales = contents === null ? refuse('scales that are not known') : listOf(contents).map((dim) => dim.n)
  const offsets = native.map((size, i) => {
    const wide = (scales[i + 2] ?? 1) * size
    return wide - Math.floor(wide + 1e-4)
  })
  const [first = 0, second = 0] = offsets
  if (Math.abs(first - second) > 1e-3) refuse(`scales that add ${first} and ${second}`)
  if (Math.abs(first) < 1e-3) return 0
  return Math.abs(first - 0.1) < 1e-3 ? 0.1 : refuse(`scales that add ${first} to the size`)
}

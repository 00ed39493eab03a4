import { type Dim, isInt, layoutKey, symbols, terms } from '../ir/dim.ts'
import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { BLENDS, CONVOLVED, convolves } from './dense.ts'
import { dependents, sizeDerived, slice } from './dependence.ts'
import { shapeSummary } from './describe.ts'
import { singleNumber } from './facts.ts'
import { dependsOnSize, gridAxes } from './grid.ts'
import { changesBeforePatches, mixesImages, sizeOperand } from './mixing.ts'
import { type ProductOperand, productOperands } from './products.ts'
import { normalAxis } from './shapes/context.ts'
import {
  type ConvolutionSite,
  DYNAMIC_RANGE,
  type GridOperand,
  KEEPS_ZERO,
  LAYOUT,
  type MixingProblem,
  POINTWISE,
  POOLINGS,
  type PoolingSite,
  QUANTISING,
  type RangeSite,
  type SoftmaxSite,
  type TokenFlow,
} from './token-sites.ts'
import type { Trace } from './trace.ts'
import { quantisedZero, sameZero, scaleAxis, type ZeroLevel } from './zero-points.ts'

/** Follows the tokens from the patch embedding to the outputs and finds every place where one can see another. */
export function followTokens(graph: Graph, trace: Trace): TokenFlow {
  return new Walk(graph, trace).run()
}

/** Operators that take elements by numbers made elsewhere in the graph. */
const PICKS = new Set(['GatherElements', 'GatherND', 'ScatterElements', 'ScatterND'])

/** True for an axis along which tokens lie. */
function bears(dim: Dim | undefined): boolean {
  return dim !== undefined && dependsOnSize(dim)
}

/** How many elements a sum over some axes has, in this trace and at the size of the export, where it was made for one. */
function termCounts(axes: readonly Dim[], trace: Trace): number[] {
  const { exported, sizes } = trace
  const here = axes.reduce((n, dim) => n * dim.n, 1)
  if (exported === null) return [here]
  const patches = exported.rows * exported.cols
  const there = axes.reduce((n, dim) => n * (bears(dim) ? dim.n - sizes.rows * sizes.cols + patches : dim.n), 1)
  return [here, there]
}

class Walk {
  private readonly softmaxes: SoftmaxSite[] = []
  private readonly poolings: PoolingSite[] = []
  private readonly ranges: RangeSite[] = []
  private readonly convolutions: ConvolutionSite[] = []
  private readonly operands: GridOperand[] = []
  private readonly problems: MixingProblem[] = []
  private readonly live: Set<Value>
  private readonly sized: ReadonlySet<Value>
  /** Values whose padded entries are exactly 0 along an axis, counted from the end, once their softmax is masked. */
  private readonly zeroed = new Map<Value, { readonly axis: number; readonly level: ZeroLevel }>()

  private readonly graph: Graph
  private readonly trace: Trace

  constructor(graph: Graph, trace: Trace) {
    this.graph = graph
    this.trace = trace
    this.live = dependents(graph, ...trace.inputs)
    this.sized = sizeDerived(graph, trace.facts)
  }

  run(): TokenFlow {
    this.problems.push(...changesBeforePatches(this.graph, this.trace, this.live))
    for (const node of slice(this.graph, this.trace.patch.conv.input(0) as Value)) {
      if (DYNAMIC_RANGE.has(node.operator)) this.ranges.push({ node, dims: this.dims(node.input(0)) ?? [] })
    }
    const started = dependents(this.graph, this.trace.patch.conv.output(0) as Value)
    for (const node of this.graph.nodes) {
      if (node === this.trace.patch.conv || node.is('Shape', 'Size')) continue
      const inputs = node.inputs.filter((value) => value !== null && started.has(value))
      if (inputs.length > 0) this.visit(node)
    }
    const { softmaxes, poolings, convolutions, ranges, operands, problems, live } = this
    return { softmaxes, poolings, convolutions, ranges, operands, problems, live }
  }

  private dims(value: Value | null): readonly Dim[] | null {
    return this.trace.facts.dims(value)
  }

  private refuseDense(node: Node, reason: string): void {
    this.problems.push({ node, reason, isDense: true })
  }

  private refuse(node: Node, reason: string): void {
    this.problems.push({ node, reason })
  }

  private visit(node: Node): void {
    const key = node.operator
    const shapes = node.inputs.map((value) => (value !== null && this.live.has(value) ? this.dims(value) : []))
    if (shapes.some((dims) => dims === null))
      return this.refuse(node, `the shape of what ${node.opType} reads is not known`)
    const known = shapes as readonly (readonly Dim[])[]
    if (PICKS.has(key) && known[0]?.some((dim) => bears(dim)) === true) {
      return this.refuse(
        node,
        `${key} picks tokens by computed numbers: patches are shuffled or left out, as in a masked autoencoder`,
      )
    }
    const number = sizeOperand(node, this.live, this.sized, this.trace)
    if (number !== null) {
      return this.refuse(node, `${node.opType} computes with ${number.name}, a number that depends on the padded size`)
    }
    const mixing = mixesImages(node, this.live, this.trace)
    if (mixing !== null) return void this.problems.push({ node, reason: mixing, mixesImages: true })
    if (DYNAMIC_RANGE.has(key)) this.ranges.push({ node, dims: this.dims(node.input(0)) ?? [] })
    if (!known.some((dims) => dims.some((dim) => bears(dim)))) return
    this.carryZeros(node)
    if (POINTWISE.has(key)) return this.pointwise(node)
    if (LAYOUT.has(key)) return this.layout(node)
    if (QUANTISING.has(key)) return this.quantise(node)
    const sides = productOperands(node)
    if (sides !== null) return this.matmul(node, sides)
    switch (key) {
      case 'Softmax':
      case 'LogSoftmax':
        return this.softmax(node)
      case 'LayerNormalization':
      case 'RMSNormalization':
      case 'com.microsoft:SkipLayerNormalization':
        return this.normalise(node)
      case 'BatchNormalization':
        return
      case 'Conv':
        return this.conv(node)
    }
    if (key.startsWith('Reduce') || key === 'ArgMax' || key === 'ArgMin') return this.reduction(node)
    if (BLENDS.has(key)) return this.refuseDense(node, `${key} blends neighbouring patches, padded ones among them`)
    if (/^com\.microsoft:(Q|DynamicQuantize|NhwcMaxPool)/.test(key)) {
      return this.refuse(
        node,
        `${key} is a fused integer operator: quantise as QDQ, and start before ONNX Runtime fuses it`,
      )
    }
    this.refuse(node, `${key} is not known to keep tokens apart`)
  }

  private outputDims(node: Node): readonly Dim[] | null {
    return this.dims(node.output(0))
  }

  private pointwise(node: Node): void {
    const out = this.outputDims(node)
    if (out === null) return
    for (const [slot, value] of node.inputs.entries()) {
      if (value === null || this.live.has(value)) continue
      const dims = this.dims(value)
      if (dims === null) {
        this.refuse(node, `the shape of its operand ${value.name} is not known`)
        continue
      }
      const touches = dims.some((dim, i) => dim.n > 1 && bears(out[i - dims.length + out.length]))
      if (!touches) continue
      const bearing = out.filter((dim) => bears(dim)).length
      this.operands.push({
        node,
        slot,
        kind: bearing > 1 && gridAxes(out, this.trace)[0] < 0 ? 'scores' : 'tokens',
        dims: out,
      })
    }
  }

  private layout(node: Node): void {
    const [source] = node.inputs
    const before = this.dims(source ?? null)
    for (const output of node.outputs) {
      const after = this.dims(output)
      if (after === null) {
        this.refuse(node, `the shape that ${node.opType} makes is not known`)
        continue
      }
      const opaque = after.find((dim) => [...symbols(dim)].some((id) => /^(slice|sliced|padded|range)\(/.test(id)))
      if (opaque !== undefined)
        this.refuse(node, `${node.opType} cuts the tokens at a place that depends on the image size`)
    }
    if (before === null) return
    if (node.is('Gather')) return this.gather(node, before)
    if (node.is('Slice')) return this.slice(node, before)
    if (!node.is('Reshape', 'Flatten')) return
    const after = this.outputDims(node)
    const lengths = (dims: readonly Dim[]) =>
      dims.flatMap((dim) => dim.atoms.map((atom) => ({ atoms: [atom], n: atom.n }))).filter(bears)
    const told = (dims: readonly Dim[]) => lengths(dims).map(layoutKey).sort().join()
    if (after !== null && told(after) !== told(before)) {
      this.refuse(node, `${node.opType} from ${shapeSummary(before)} to ${shapeSummary(after)} splits the token axis`)
    }
  }

  private slice(node: Node, before: readonly Dim[]): void {
    const { facts } = this.trace
    const steps = node.input(4) === null ? [] : facts.constants(node.input(4))
    const axes = facts.constants(node.input(3)) ?? node.ints('axes') ?? before.map((_, i) => i)
    const turned = axes.filter((_, i) => steps === null || (steps[i] ?? 1) !== 1)
    if (turned.some((axis) => bears(before[normalAxis(axis, before.length)]))) {
      this.refuse(node, 'Slice takes tokens in another order or leaves some out')
    }
  }

  private gather(node: Node, before: readonly Dim[]): void {
    const axis = normalAxis(node.int('axis', 0), before.length)
    const dim = before[axis]
    if (dim === undefined || !bears(dim)) return
    const indices = this.trace.facts.constants(node.input(1))
    const prefix = terms(dim)[0]
    const inPrefix = prefix !== undefined && isInt(prefix) ? prefix.n : 0
    if (indices === null || indices.some((index) => index < 0 || index >= inPrefix)) {
      this.refuse(node, 'Gather picks patches by number, which is another patch at another size')
    }
  }

  private softmax(node: Node): void {
    const dims = this.dims(node.input(0)) ?? []
    const coerces = this.trace.opset < 13
    const axis = normalAxis(node.int('axis', coerces ? 1 : -1), dims.length)
    const dim = dims[axis]
    const over = coerces ? dims.slice(axis) : [dim]
    if (!over.some((other) => bears(other))) return
    if (over.length > 1 && over.slice(1).some((other) => other?.n !== 1)) {
      return this.refuse(node, 'Softmax of this opset runs over several axes at once, tokens among them')
    }
    if (node.is('LogSoftmax')) return this.refuse(node, 'LogSoftmax over tokens gives padding a finite value')
    this.softmaxes.push({ node, axis, dims })
    const output = node.output(0)
    if (output !== null) this.zeroed.set(output, { axis: axis - dims.length, level: null })
  }

  private matmul(node: Node, [left, right]: readonly [ProductOperand, ProductOperand]): void {
    const sides = [this.contracted(left), this.contracted(right)]
    if (sides.some((side) => side.bears) && !sides.some((side) => side.zeroed)) {
      return this.refuse(node, `${node.opType} sums over tokens with weights that are not a masked softmax's`)
    }
  }

  private contracted({ value, axis, zeroPoint }: ProductOperand): { bears: boolean; zeroed: boolean } {
    if (value === null) return { bears: false, zeroed: false }
    const dims = this.dims(value) ?? []
    const at = dims.length === 1 ? -1 : axis
    const found = this.zeroed.get(value)
    const zeroed = found?.axis === at && sameZero(found.level, zeroPoint, this.trace.facts)
    return { bears: bears(dims.at(at)), zeroed }
  }

  private quantise(node: Node): void {
    const dims = this.dims(node.input(0)) ?? []
    const axis = scaleAxis(node, dims.length, this.trace.facts)
    if (axis !== null && bears(dims[axis])) this.refuse(node, `${node.opType} has a scale for each token of one size`)
  }

  private reduction(node: Node): void {
    const dims = this.dims(node.input(0)) ?? []
    const single = node.is('ArgMax', 'ArgMin') ? [node.int('axis', 0)] : undefined
    const given = single ?? node.ints('axes') ?? this.trace.facts.constants(node.input(1)) ?? dims.map((_, i) => i)
    const axes = given.map((axis) => normalAxis(axis, dims.length))
    if (!axes.some((axis) => bears(dims[axis]))) return
    const kind = POOLINGS[node.opType]
    if (kind === undefined) return this.refuse(node, `${node.opType} runs over tokens`)
    const count =
      kind === 'sum'
        ? this.countAfter(
            node,
            termCounts(
              axes.map((axis) => dims[axis] as Dim),
              this.trace,
            ),
          )
        : null
    if (count !== null)
      return this.refuse(count, `${count.opType} by the number of tokens of one size, after a sum over tokens`)
    this.poolings.push({ node, kind, axes, dims, keepdims: node.int('keepdims', 1) === 1 })
  }

  /** A Mul or Div, soon after a sum, by the number of its terms at one size: a mean that is right at that size only. */
  private countAfter(sum: Node, counts: readonly number[]): Node | null {
    const seen = new Set<Node>([sum])
    let level = [sum]
    for (let depth = 0; depth < 4; depth += 1) {
      level = level
        .flatMap((node) => node.outputs.flatMap((value) => value?.users ?? []))
        .filter((node) => !seen.has(node))
      for (const node of level) {
        seen.add(node)
        if (!node.is('Mul', 'Div')) continue
        const numbers = node.inputs.map((value) => singleNumber(value, this.trace.facts))
        const isCount = (n: number | null) =>
          n !== null && counts.some((count) => n === count || Math.abs(n * count - 1) < 1e-3)
        if (numbers.some(isCount)) return node
      }
    }
    return null
  }

  private normalise(node: Node): void {
    const dims = this.dims(node.input(0)) ?? []
    const axis = node.domain === '' ? normalAxis(node.int('axis', -1), dims.length) : dims.length - 1
    if (dims.slice(axis).some((dim) => bears(dim))) this.refuse(node, `${node.opType} runs over tokens`)
    if (node.domain !== '') this.pointwise(node)
  }

  private conv(node: Node): void {
    const dims = this.dims(node.input(0)) ?? []
    const how = convolves(node, dims, this.outputDims(node), this.trace)
    if (how === 'zeros') this.convolutions.push({ node, dims })
    if (how === 'mixes') this.refuseDense(node, CONVOLVED)
  }

  private otherBranchIsZero(node: Node, slot: number): boolean {
    const other = slot === 1 ? node.input(2) : slot === 2 ? node.input(1) : null
    return this.trace.facts.constants(other)?.every((n) => n === 0) ?? false
  }

  private carryZeros(node: Node): void {
    const output = node.output(0)
    const quantises = QUANTISING.has(node.operator)
    if (output === null || !(quantises || (node.domain === '' && KEEPS_ZERO.has(node.opType)))) return
    for (const [slot, value] of node.inputs.entries()) {
      const found = value === null ? undefined : this.zeroed.get(value)
      if (value === null || found === undefined || ((quantises || node.is('Div')) && slot !== 0)) continue
      if (node.is('Where') && !this.otherBranchIsZero(node, slot)) continue
      const level = quantises ? quantisedZero(node, found.level, this.trace.facts) : found.level
      if (level === undefined || (level !== null && !quantises && !MOVES.has(node.opType))) continue
      const from = this.dims(value)
      const to = this.dims(output)
      if (from === null || to === null) return
      const axis = moveAxis(node, from, to, found.axis)
      if (axis !== null) this.zeroed.set(output, { axis, level })
    }
  }
}

/** Operators that move elements and do not change them, so that a zero point stays one. */
const MOVES = new Set(['Identity', 'Transpose', 'Reshape', 'Squeeze', 'Unsqueeze', 'Expand'])

/** Where an axis (counted from the end) is after a node that moves axes; null where it cannot be told. */
function moveAxis(node: Node, from: readonly Dim[], to: readonly Dim[], axis: number): number | null {
  if (node.is('Transpose')) {
    const perm = node.ints('perm') ?? from.map((_, i) => from.length - 1 - i)
    return perm.indexOf(from.length + axis) - to.length
  }
  const same = (a: Dim | undefined, b: Dim | undefined) =>
    a !== undefined && b !== undefined && layoutKey(a) === layoutKey(b)
  for (let i = -1; i >= axis; i -= 1) if (!same(from.at(i), to.at(i))) return null
  return axis
}

import { VitpassError } from '../errors.ts'
import { type DType, isFloat } from '../ir/dtype.ts'
import { floatTensor } from '../ir/tensor-data.ts'
import { Value } from '../ir/value.ts'
import { numberTensor } from './constants.ts'
import type { BuilderOptions, List, Naming, Operand } from './emitter.ts'
import {
  type CastLikeOptions,
  type CastOptions,
  type ClipOptions,
  type ModOptions,
  OperatorBuilder,
  type PadOptions,
  type RangeOptions,
  type ReduceMaxOptions,
  type ReduceMinOptions,
  type ResizeOptions,
  type ShapeOptions,
  type SoftmaxOptions,
  type SplitOptions,
} from './generated/builders.ts'
import { refuseType } from './refuse.ts'
import { allowedTypes, schemaOf, supports } from './schema.ts'

/** A Slice to here goes to the end of any axis. */
const END = Number.MAX_SAFE_INTEGER

/**
 * Writes operators into a graph as its opset has them: `b.unsqueeze(x, { axes: [0] })` makes an attribute of the axes
 * below opset 13 and an int64 input from 13 on. Where the opset lacks something that a few nodes can do as well, it
 * writes these instead; else it refuses with MODEL_UNSUPPORTED and names the opset to raise to.
 *
 * Nodes go to the end of the graph, or before the node that the options name; the order is the caller's care.
 */
export class Builder extends OperatorBuilder {
  /** The same builder with another scope or place; constants and known types are shared. */
  with(options: Pick<BuilderOptions, 'scope' | 'before'>): Builder {
    return new Builder(this.graph, this.opset, { ...this.options, ...options }, this)
  }

  /** Cast. A value that is known to have the type already is returned as it is, unless a name is asked for. */
  override cast(input: Value, options: CastOptions): Value {
    if (options.name === undefined && this.dtypeOf(input) === options.to) return input
    const schema = schemaOf('Cast', this.opset)
    const [output] = schema?.outputs ?? []
    if (schema !== null && output !== undefined && !allowedTypes(schema, output.type).has(options.to)) {
      throw refuseType(schema, output, options.to, this.opset, input.name)
    }
    return super.cast(input, options)
  }

  /** CastLike, from opset 15; a Cast where the type is known. */
  override castLike(input: Value, target: Value, options: CastLikeOptions = {}): Value {
    const to = this.dtypeOf(target)
    return to === undefined ? super.castLike(input, target, options) : this.cast(input, { ...options, to })
  }

  /** Clip. Computed limits below opset 11 and integers below 12 go through Max and Min. */
  override clip(input: Value, options: ClipOptions = {}): Value {
    const { min, max } = options
    const computed = this.opset < 11 && (min instanceof Value || max instanceof Value)
    if (!computed && this.takes('Clip', input)) return super.clip(input, options)
    if (min === undefined && max === undefined) return this.identity(input, options)
    const raised = min === undefined ? input : this.max([input, min], max === undefined ? options : {})
    return max === undefined ? raised : this.min([raised, max], options)
  }

  /** Equal. Floats below opset 11 are equal where neither is less; this makes NaN equal to everything. */
  override equal(a: Operand, b: Operand, options: Naming = {}): Value {
    if (this.takes('Equal', a, b)) return super.equal(a, b, options)
    return this.not(this.or(this.less(a, b), this.greater(a, b)), options)
  }

  /** GreaterOrEqual, from opset 12; below, the opposite of Less, which differs for NaN. */
  override greaterOrEqual(a: Operand, b: Operand, options: Naming = {}): Value {
    return this.opset < 12 ? this.not(this.less(a, b), options) : super.greaterOrEqual(a, b, options)
  }

  /** LessOrEqual, from opset 12; below, the opposite of Greater, which differs for NaN. */
  override lessOrEqual(a: Operand, b: Operand, options: Naming = {}): Value {
    return this.opset < 12 ? this.not(this.greater(a, b), options) : super.lessOrEqual(a, b, options)
  }

  /** Max. Integers below opset 12 are compared and picked by Where. */
  override max(values: readonly Operand[], options: Naming = {}): Value {
    if (this.takes('Max', ...values)) return super.max(values, options)
    return this.pick(values, options, (a, b) => this.greater(a, b))
  }

  /** Min. Integers below opset 12 are compared and picked by Where. */
  override min(values: readonly Operand[], options: Naming = {}): Value {
    if (this.takes('Min', ...values)) return super.min(values, options)
    return this.pick(values, options, (a, b) => this.less(a, b))
  }

  /** Mod with the sign of the divisor for integers; floats, which ONNX computes only so, take the sign of the dividend (`fmod`). */
  override mod(a: Operand, b: Operand, options: ModOptions = {}): Value {
    const dtype = this.sharedType([a, b])
    return super.mod(a, b, dtype !== undefined && isFloat(dtype) ? { fmod: 1, ...options } : options)
  }

  /** Pad. Axes below opset 18 are spelled out for all axes where the rank and the amounts are known. */
  override pad(data: Value, options: PadOptions): Value {
    const rank = data.declaredDims?.length
    const { axes, pads } = options
    if (
      this.opset >= 18 ||
      axes === undefined ||
      axes instanceof Value ||
      pads instanceof Value ||
      rank === undefined
    ) {
      return super.pad(data, options)
    }
    const all = new Array<number>(2 * rank).fill(0)
    for (const [at, axis] of axes.entries()) {
      const place = axis < 0 ? axis + rank : axis
      all[place] = pads[at] ?? 0
      all[place + rank] = pads[at + axes.length] ?? 0
    }
    return super.pad(data, { ...options, pads: all, axes: undefined })
  }

  /** Pow. A number is an exponent, or a base, of the other operand's type, as every opset takes it. */
  override pow(x: Operand, y: Operand, options: Naming = {}): Value {
    if (x instanceof Value) return super.pow(x, typeof y === 'number' ? this.like(y, x) : y, options)
    return super.pow(y instanceof Value ? this.like(x, y) : x, y, options)
  }

  /** Range, int64 where only numbers are given. Below opset 11 only int64 in steps of one, through NonZero. */
  override range(start: Operand, limit: Operand, delta: Operand = 1, options: RangeOptions = {}): Value {
    const [first = start, last = limit, step = delta] = this.unlessNumbers([start, limit, delta])
    if (this.opset >= 11) return super.range(first, last, step, options)
    const dtype = this.sharedType([first, last, step])
    if (delta !== 1 || (dtype !== undefined && dtype !== 'int64')) return super.range(first, last, step, options)
    const count = start === 0 && last instanceof Value ? last : this.sub(last, first)
    const ones = this.constantOfShape(this.unsqueeze(this.max([count, 0]), { axes: [0] }), {
      value: numberTensor('int64', [1], [1]),
    })
    const indices = this.squeeze(this.nonZero(ones), { axes: [0], name: start === 0 ? options.name : undefined })
    return start === 0 ? indices : this.add(indices, first, options)
  }

  /** ReduceMax. Bools below opset 20 are reduced as int32. */
  override reduceMax(data: Value, options: ReduceMaxOptions = {}): Value {
    if (this.opset >= 20 || this.dtypeOf(data) !== 'bool') return super.reduceMax(data, options)
    const most = super.reduceMax(this.cast(data, { to: 'int32' }), { ...options, name: undefined })
    return this.cast(most, { to: 'bool', name: options.name })
  }

  /** ReduceMin. Bools below opset 20 are reduced as int32. */
  override reduceMin(data: Value, options: ReduceMinOptions = {}): Value {
    if (this.opset >= 20 || this.dtypeOf(data) !== 'bool') return super.reduceMin(data, options)
    const least = super.reduceMin(this.cast(data, { to: 'int32' }), { ...options, name: undefined })
    return this.cast(least, { to: 'bool', name: options.name })
  }

  /** Resize to `sizes` (opset 11) or by `scales`. What opset 11 and 12 want to be given empty is added. */
  override resize(x: Value, options: ResizeOptions): Value {
    if (this.opset < 11 || this.opset >= 13) return super.resize(x, options)
    const empty = (given: List | undefined): List => given ?? this.constant(floatTensor([0], []))
    return super.resize(x, { ...options, roi: empty(options.roi), scales: empty(options.scales) })
  }

  /** Shape, all of it or the dims from `start` to before `end`; below opset 15 a Slice takes them out. */
  override shape(data: Value, options: ShapeOptions = {}): Value {
    const { start = 0, end } = options
    if (this.opset >= 15 || (start === 0 && end === undefined)) return super.shape(data, options)
    return this.slice(super.shape(data), { starts: [start], ends: [end ?? END], axes: [0], name: options.name })
  }

  /**
   * Softmax over one axis, the last by default. Below opset 13, where the operator runs over all axes from the one
   * given, another axis than the last is moved to the end and back, for which the rank must be declared.
   */
  override softmax(input: Value, options: SoftmaxOptions = {}): Value {
    const axis = options.axis ?? -1
    const rank = input.declaredDims?.length
    if (this.opset >= 13 || axis === -1 || axis + 1 === rank) return super.softmax(input, { ...options, axis })
    if (rank === undefined) {
      throw new VitpassError(
        'MODEL_UNSUPPORTED',
        `Softmax of opset ${this.opset} over axis ${axis} of a value of unknown rank`,
        {
          node: input.name,
          remedy: "raise the model's opset to 13 or later",
        },
      )
    }
    const perm = Array.from({ length: rank }, (_, at) => at)
    const place = axis < 0 ? axis + rank : axis
    perm[place] = rank - 1
    perm[rank - 1] = place
    const moved = super.softmax(this.transpose(input, { perm }), { axis: -1 })
    return this.transpose(moved, { perm, name: options.name })
  }

  /** Split by lengths, or into `outputs` equal parts (the last may be shorter from opset 18). */
  override split(input: Value, options: SplitOptions): Value[] {
    const { split, axis } = options
    const outputs = options.outputs ?? (split instanceof Value ? undefined : split?.length)
    if (outputs === undefined) throw new VitpassError('INTERNAL', 'Split was not told how many outputs there are')
    const parts = this.opset >= 18 && split === undefined ? outputs : undefined
    return this.call('Split', { input, split, axis, num_outputs: parts }, options, outputs)
  }

  /** Where. Bools are picked by And and Or: ONNX Runtime has no CPU kernel for them in any opset. */
  override where(condition: Value, x: Operand, y: Operand, options: Naming = {}): Value {
    if (this.sharedType([x, y]) !== 'bool') return super.where(condition, x, y, options)
    const yes = typeof x === 'number' ? this.bool(x !== 0) : x
    const no = typeof y === 'number' ? this.bool(y !== 0) : y
    return this.or(this.and(condition, yes), this.and(this.not(condition), no), options)
  }

  /** Makes an int64 constant of the numbers where there is nothing else, so that their type is known. */
  private unlessNumbers(operands: readonly Operand[]): readonly Operand[] {
    if (operands.some((operand) => operand instanceof Value)) return operands
    return operands.map((operand) => (typeof operand === 'number' ? this.int64(operand) : operand))
  }

  private sharedType(operands: readonly Operand[]): DType | undefined {
    return operands
      .map((operand) => (operand instanceof Value ? this.dtypeOf(operand) : undefined))
      .find((dtype) => dtype !== undefined)
  }

  /** Whether this opset's operator takes the type of the operands, as far as it is known. */
  private takes(op: string, ...operands: readonly Operand[]): boolean {
    const dtype = this.sharedType(operands)
    return dtype === undefined || supports(op, this.opset, dtype)
  }

  private pick(values: readonly Operand[], options: Naming, wins: (a: Value, b: Operand) => Value): Value {
    const first = values.find((value) => value instanceof Value)
    if (first === undefined) throw new VitpassError('INTERNAL', 'numbers only were given to Max or Min')
    const others = values.filter((value) => value !== first)
    if (others.length === 0) return this.identity(first, options)
    return others.reduce<Value>(
      (best, other, at) => this.where(wins(best, other), best, other, at === others.length - 1 ? options : {}),
      first,
    )
  }
}

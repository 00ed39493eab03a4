import { VitpassError } from '../errors.ts'
import { type Attribute, attr } from '../ir/attribute.ts'
import { DTYPES, type DType, type FloatType } from '../ir/dtype.ts'
import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import { boolTensor, floatTensor, int64Tensor } from '../ir/tensor-data.ts'
import { Value } from '../ir/value.ts'
import { ConstantPool, constantInts, numberTensor, type TensorData } from './constants.ts'
import { DTypes } from './dtype.ts'
import { FORMER_NAMES } from './generated/schemas.ts'
import { refuseArgument, refuseMissing, refuseOperator, refuseType } from './refuse.ts'
import { type AttributeSchema, allowedTypes, type Formal, type OperatorSchema, schemaOf, versionsOf } from './schema.ts'

/** A tensor of the graph, or a number: a scalar constant of the type of the other operands. */
export type Operand = Value | number

/** A list of numbers known now, or a one-dimensional tensor of the graph that will hold them. */
export type List = Value | readonly number[]

/** Indices: one, which drops the axis; a list; or a tensor of the graph. */
export type Indices = Value | number | readonly number[]

export interface Naming {
  /** Names the result `scope/name` instead of `scope/Operator`. */
  readonly name?: string | undefined
}

export interface BuilderOptions {
  /** Stands before every name: `vitpass/posenc`. Default: `vitpass`. */
  readonly scope?: string
  /** Puts every node before this one instead of at the end. */
  readonly before?: Node
  /** Asked for the type of values that the graph itself says nothing of. */
  readonly dtypeOf?: (value: Value) => DType | undefined
}

export type Argument = Value | number | string | readonly Operand[] | TensorData | undefined
export type Arguments = Readonly<Record<string, Argument>>

/**
 * Writes nodes in the form that one opset has. It knows operators by their schema only; the typed methods are generated
 * on top of it (`OperatorBuilder`), the emulations are written by hand above these (`Builder`).
 */
export class Emitter {
  readonly graph: Graph
  readonly opset: number
  protected readonly options: BuilderOptions
  private readonly pool: ConstantPool
  private readonly dtypes: DTypes

  constructor(graph: Graph, opset: number, options: BuilderOptions = {}, sharing?: Emitter) {
    this.graph = graph
    this.opset = opset
    this.options = options
    this.pool = sharing?.pool ?? new ConstantPool(graph)
    this.dtypes = sharing?.dtypes ?? new DTypes(opset, options.dtypeOf ?? (() => undefined))
  }

  /** The element type of a value; undefined where neither the file, nor the operators, nor the caller tells. */
  dtypeOf(value: Value): DType | undefined {
    return this.dtypes.of(value)
  }

  /** A constant; an equal small one that the graph has already is used again, so its name may differ. */
  constant(tensor: TensorData, options: Naming = {}): Value {
    return this.pool.take(tensor, this.base('constant', options))
  }

  /** An int64 constant: a number is a scalar, or a list of one with `rank` 1; a list is one-dimensional. */
  int64(ints: number | readonly number[], rank?: 0 | 1): Value {
    if (typeof ints !== 'number') return this.constant(int64Tensor([ints.length], ints))
    return this.constant(int64Tensor(rank === 1 ? [1] : [], [ints]))
  }

  /** A float constant: a number is a scalar, a list is one-dimensional. */
  float(floats: number | readonly number[], dtype: FloatType = 'float'): Value {
    if (typeof floats === 'number') return this.constant(floatTensor([], [floats], dtype))
    return this.constant(floatTensor([floats.length], floats, dtype))
  }

  /** A bool constant: a scalar, or a list. */
  bool(flags: boolean | readonly boolean[]): Value {
    if (typeof flags === 'boolean') return this.constant(boolTensor([], [flags]))
    return this.constant(boolTensor([flags.length], flags))
  }

  /**
   * A scalar constant of the element type of another value. Where that type is not known, a CastLike takes it over at run time (opset 15).
   * @throws VitpassError MODEL_UNSUPPORTED where the type is not known below opset 15
   */
  like(number: number, other: Value): Value {
    const dtype = this.dtypeOf(other)
    if (dtype !== undefined) return this.constant(numberTensor(dtype, [], [number]))
    return this.one('CastLike', { input: this.float(number), target_type: other }, {})
  }

  /**
   * Adds one node of the operator, written as this opset has it.
   * @param args inputs and attributes by their ONNX names of today; each becomes an attribute or an input, whichever the opset has
   * @throws VitpassError MODEL_UNSUPPORTED where the opset lacks the operator, an argument or the element type;
   *   INTERNAL where the arguments contradict the schema
   */
  protected call(op: string, args: Arguments, options: Naming, outputs = 1): Value[] {
    const schema = schemaOf(op, this.opset)
    if (schema === null) throw refuseOperator(op, this.opset, this.options.scope)
    const attributes = this.attributes(schema, args)
    const inputs = this.inputs(schema, args)
    return this.graph.emit(op, inputs, {
      attributes,
      outputs,
      base: this.base(op, options),
      before: this.options.before ?? null,
    })
  }

  /** `call` for an operator with one output, or of which only the first is wanted. */
  protected one(op: string, args: Arguments, options: Naming): Value {
    const [output] = this.call(op, args, options)
    if (output === undefined) throw new VitpassError('INTERNAL', `${op} was made without an output`)
    return output
  }

  /** `call` for an operator with two outputs. */
  protected pair(op: string, args: Arguments, options: Naming): [Value, Value] {
    const [first, second] = this.call(op, args, options, 2)
    if (first === undefined || second === undefined)
      throw new VitpassError('INTERNAL', `${op} was made with one output`)
    return [first, second]
  }

  private base(op: string, options: Naming): string {
    return `${this.options.scope ?? 'vitpass'}/${options.name ?? op}`
  }

  private inputs(schema: OperatorSchema, args: Arguments): (Value | null)[] {
    const given = schema.inputs.map((formal) => ({
      formal,
      parts: asList(argument(schema.op, args, formal.name), formal),
    }))
    const bound = new Map<string, Value>()
    for (const { formal, parts } of given) {
      if (parts.length === 0 && formal.kind !== 'optional') throw refuseMissing(schema, formal, this.opset)
      for (const part of parts) if (part instanceof Value) this.bind(schema, formal, part, bound)
    }
    const inputs = given.flatMap(({ formal, parts }): (Value | null)[] => {
      if (parts.length > 0) return parts.map((part) => this.input(schema, formal, part, bound))
      return [null]
    })
    while (inputs.at(-1) === null) inputs.pop()
    return inputs
  }

  /** Checks a value's type, where it is known, against the schema and against the other inputs of the same type variable. */
  private bind(schema: OperatorSchema, formal: Formal, value: Value, bound: Map<string, Value>): void {
    const dtype = this.dtypeOf(value)
    if (dtype !== undefined && !allowedTypes(schema, formal.type).has(dtype)) {
      throw refuseType(schema, formal, dtype, this.opset, value.name)
    }
    const first = bound.get(formal.type)
    const expected = first === undefined ? undefined : this.dtypeOf(first)
    if (dtype !== undefined && expected !== undefined && dtype !== expected) {
      const message = `${schema.op} needs one type: ${first?.name} is ${expected}, ${value.name} is ${dtype}`
      throw new VitpassError('INTERNAL', message)
    }
    if (first === undefined || expected === undefined) bound.set(formal.type, value)
  }

  private input(schema: OperatorSchema, formal: Formal, part: Part, bound: ReadonlyMap<string, Value>): Value {
    if (part instanceof Value) return part
    const other = bound.get(formal.type)
    const dtype = this.constantType(schema, formal, other)
    if (dtype !== undefined) return this.constant(scalarOrList(dtype, part))
    if (other !== undefined && typeof part === 'number') return this.like(part, other)
    const message = `${schema.op} was given numbers only, which leave the type of ${formal.name} open`
    throw new VitpassError('INTERNAL', message, { remedy: 'give one operand as a value' })
  }

  /** The type that numbers are written in: the only one allowed, that of the operands that share it, int64 for indices. */
  private constantType(schema: OperatorSchema, formal: Formal, other: Value | undefined): DType | undefined {
    const allowed = allowedTypes(schema, formal.type)
    if (allowed.size === 1) return allowed.values().next().value
    const shared = other === undefined ? undefined : this.dtypeOf(other)
    if (shared !== undefined) return shared
    return allowed.size === 2 && allowed.has('int64') ? 'int64' : undefined
  }

  private attributes(schema: OperatorSchema, args: Arguments): Record<string, Attribute> {
    const found: Record<string, Attribute> = {}
    for (const [name, value] of Object.entries(args)) {
      if (value === undefined || schema.inputs.some((formal) => formal.name === name)) continue
      const local = schema.attributes.has(name) ? name : (FORMER_NAMES[schema.op]?.[name] ?? name)
      const facts = schema.attributes.get(local)
      if (facts !== undefined) found[local] = this.attribute(schema, name, facts, value)
      else if (!isDefault(schema.op, name, value)) throw refuseArgument(schema, name, this.opset, false)
    }
    return found
  }

  private fixedInts(value: Value): number[] | null {
    return this.graph.root.inputs.includes(value) ? null : constantInts(value)
  }

  private attribute(schema: OperatorSchema, name: string, facts: AttributeSchema, given: Argument): Attribute {
    const value = given instanceof Value ? this.fixedInts(given) : given
    if (value === null) throw refuseArgument(schema, name, this.opset, true)
    const numbers = typeof value === 'number' ? [value] : isNumbers(value) ? value : undefined
    const [first] = numbers ?? []
    switch (facts.type) {
      case 'ints':
        if (numbers !== undefined) return attr.ints(numbers)
        break
      case 'floats':
        if (numbers !== undefined) return attr.floats(numbers)
        break
      case 'int':
        if (typeof value === 'string' && isDType(value)) return attr.int(DTYPES[value])
        if (first !== undefined && numbers?.length === 1) return attr.int(first)
        break
      case 'float':
        if (first !== undefined && numbers?.length === 1) return attr.float(first)
        break
      case 'string':
        if (typeof value === 'string') return attr.string(value)
        break
      case 'tensor':
        if (typeof value === 'object' && 'storage' in value) return attr.tensor({ ...value, name: '' })
    }
    throw new VitpassError('INTERNAL', `${name} of ${schema.op} takes ${facts.type}`)
  }
}

/** What one input is made of: a value, a number, or a list of numbers for a one-dimensional constant. */
type Part = Operand | readonly number[]

function argument(op: string, args: Arguments, name: string): Argument {
  const former = FORMER_NAMES[op]
  const today = former === undefined ? undefined : Object.keys(former).find((key) => former[key] === name)
  return args[name] ?? (today === undefined ? undefined : args[today])
}

function asList(given: Argument, formal: Formal): readonly Part[] {
  if (given === undefined) return []
  if (given instanceof Value || typeof given === 'number') return [given]
  if (formal.kind === 'variadic' && Array.isArray(given)) return given
  if (isNumbers(given)) return [given]
  throw new VitpassError('INTERNAL', `${formal.name} is a tensor: give a value or numbers`)
}

function scalarOrList(dtype: DType, numbers: number | readonly number[]): TensorData {
  return typeof numbers === 'number'
    ? numberTensor(dtype, [], [numbers])
    : numberTensor(dtype, [numbers.length], numbers)
}

function isNumbers(given: Argument): given is readonly number[] {
  return Array.isArray(given) && given.every((item) => typeof item === 'number')
}

function isDType(name: string): name is DType {
  return Object.hasOwn(DTYPES, name)
}

/** Whether leaving the argument out means the same in the versions that have it. */
function isDefault(op: string, name: string, value: Argument): boolean {
  const having = versionsOf(op).filter((version) => version.attributes.has(name))
  const fallback = having.at(-1)?.attributes.get(name)?.default
  return fallback !== undefined && JSON.stringify(fallback) === JSON.stringify(value)
}

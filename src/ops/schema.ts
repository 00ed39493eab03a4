import { DTYPES, type DType } from '../ir/dtype.ts'
import { NEWEST_OPSET, OPERATORS, TYPE_SETS } from './generated/schemas.ts'

/** A formal input or output. */
export interface Formal {
  readonly name: string
  readonly kind: 'single' | 'optional' | 'variadic'
  /** A type variable of the operator (`T`), or a type (`int64`). */
  readonly type: string
}

export type AttributeDefault = number | string | readonly number[] | readonly string[]

export interface AttributeSchema {
  readonly type: string
  readonly required: boolean
  readonly default: AttributeDefault | undefined
}

/** One version of an ai.onnx operator. */
export interface OperatorSchema {
  readonly op: string
  /** The opset that brought this version. */
  readonly since: number
  readonly inputs: readonly Formal[]
  readonly outputs: readonly Formal[]
  readonly attributes: ReadonlyMap<string, AttributeSchema>
  /** Tensor element types that each type variable may stand for. */
  readonly types: ReadonlyMap<string, ReadonlySet<DType>>
}

const decoded = new Map<string, readonly (OperatorSchema | number)[]>()

/** Every version of an operator, oldest first; a deprecated one is only the number of its opset. */
function versions(op: string): readonly (OperatorSchema | number)[] {
  const known = decoded.get(op)
  if (known !== undefined) return known
  const rows = Object.hasOwn(OPERATORS, op) ? (OPERATORS[op] ?? []) : []
  const all = rows.map((row) => decode(op, row))
  decoded.set(op, all)
  return all
}

/** Versions of an operator that the tables hold, oldest first, without deprecated ones; empty for an operator that they lack. */
export function versionsOf(op: string): readonly OperatorSchema[] {
  return versions(op).filter((version) => typeof version !== 'number')
}

/**
 * The version of an ai.onnx operator that a model of this opset means. An opset newer than the tables is read as the newest one they know.
 * @returns null where the operator does not exist (yet, or any more) in this opset, or the tables do not hold it
 */
export function schemaOf(op: string, opset: number): OperatorSchema | null {
  const wanted = Math.min(opset, NEWEST_OPSET)
  const found = versions(op).findLast((version) => (typeof version === 'number' ? version : version.since) <= wanted)
  return found === undefined || typeof found === 'number' ? null : found
}

/** Whether an operator exists in an opset and, where a type is given, takes it for its first input. */
export function supports(op: string, opset: number, dtype?: DType): boolean {
  const schema = schemaOf(op, opset)
  if (schema === null) return false
  const [first] = schema.inputs
  return dtype === undefined || first === undefined || allowedTypes(schema, first.type).has(dtype)
}

/** The place of an input in this opset; null where it has no such input: it may be an attribute there. */
export function inputIndex(op: string, opset: number, name: string): number | null {
  const at = schemaOf(op, opset)?.inputs.findIndex((input) => input.name === name) ?? -1
  return at < 0 ? null : at
}

/** What an attribute means when a node of this opset leaves it out: Softmax's axis is 1 below 13 and -1 from 13. */
export function attributeDefault(op: string, opset: number, name: string): AttributeDefault | undefined {
  return schemaOf(op, opset)?.attributes.get(name)?.default
}

/** The element types that a formal type stands for. */
export function allowedTypes(schema: OperatorSchema, type: string): ReadonlySet<DType> {
  return schema.types.get(type) ?? new Set(isDType(type) ? [type] : [])
}

function isDType(name: string): name is DType {
  return Object.hasOwn(DTYPES, name)
}

const KINDS = { '': 'single', '?': 'optional', '*': 'variadic' } as const

function decode(op: string, row: string): OperatorSchema | number {
  const [since = '', inputs = '', outputs = '', types = '', attributes = ''] = row.split('|')
  if (inputs === 'deprecated') return Number(since)
  return {
    op,
    since: Number(since),
    inputs: items(inputs).map(decodeFormal),
    outputs: items(outputs).map(decodeFormal),
    types: new Map(items(types).map(decodeTypes)),
    attributes: new Map(items(attributes).map(decodeAttribute)),
  }
}

function items(part: string): string[] {
  return part === '' ? [] : part.split(' ')
}

function decodeFormal(item: string): Formal {
  const [, name = '', mark = '', type = ''] = /^([\w.]+)([?*]?):(.+)$/.exec(item) ?? []
  return { name, kind: KINDS[mark as keyof typeof KINDS], type }
}

function decodeTypes(item: string): [string, ReadonlySet<DType>] {
  const [name = '', index = ''] = item.split('=')
  return [name, new Set((TYPE_SETS[Number(index)] ?? '').split(' ').filter(isDType))]
}

function decodeAttribute(item: string): [string, AttributeSchema] {
  const [, name = '', type = '', required, value] = /^(\w+):(\w+)(!)?(?:=(.*))?$/.exec(item) ?? []
  const fallback = value === undefined ? undefined : (JSON.parse(value) as AttributeDefault)
  return [name, { type, required: required !== undefined, default: fallback }]
}

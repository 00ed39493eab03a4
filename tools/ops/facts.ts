import { readFileSync } from 'node:fs'

/** `[name, kind, type]`; the type is a type variable or a type. */
export type Formal = readonly [name: string, kind: 'single' | 'optional' | 'variadic', type: string, ...rest: unknown[]]

export interface AttributeFacts {
  readonly type: string
  readonly required?: true
  readonly default?: unknown
}

/** One version of one operator, as `onnx-schemas.json` has it. */
export interface OperatorFacts {
  readonly op: string
  readonly since: number
  readonly deprecated?: true
  readonly in: readonly Formal[]
  readonly out: readonly Formal[]
  readonly attributes: Readonly<Record<string, AttributeFacts>>
  readonly types: Readonly<Record<string, readonly string[]>>
}

export interface SchemaFile {
  readonly onnx: string
  readonly newestOpset: number
  readonly operators: readonly OperatorFacts[]
}

/** Reads what `extract_schemas.py` wrote. */
export function readSchemas(): SchemaFile {
  return JSON.parse(readFileSync(new URL('onnx-schemas.json', import.meta.url), 'utf8')) as SchemaFile
}

/** Every version of an operator, oldest first. @throws Error for a name that ONNX does not know */
export function versionsOf(file: SchemaFile, op: string): readonly OperatorFacts[] {
  const found = file.operators.filter((facts) => facts.op === op)
  if (found.length === 0) throw new Error(`onnx ${file.onnx} has no operator ${op}`)
  return found
}

/** The versions that a model of the oldest supported opset or a newer one can hold. */
export function livingVersions(file: SchemaFile, op: string, oldest: number): readonly OperatorFacts[] {
  const versions = versionsOf(file, op).filter((facts) => facts.deprecated !== true)
  return versions.filter((_, at) => (versions[at + 1]?.since ?? Number.POSITIVE_INFINITY) > oldest)
}

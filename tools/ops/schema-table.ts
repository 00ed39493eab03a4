import { type Project, type SourceFile, VariableDeclarationKind } from 'ts-morph'
import { type OperatorFacts, type SchemaFile, versionsOf } from './facts.ts'
import { FORMER_NAMES } from './operators.ts'

/** Writes the version tables that `src/ops/schema.ts` decodes. */
export function schemaTable(project: Project, path: string, file: SchemaFile, ops: readonly string[]): SourceFile {
  const source = project.createSourceFile(path, '', { overwrite: true })
  const sets: string[] = []
  const setIndex = (types: readonly string[]): number => {
    const text = types.filter((type) => /^[a-z0-9]+$/.test(type)).join(' ')
    if (!sets.includes(text)) sets.push(text)
    return sets.indexOf(text)
  }
  const rows = ops.map((op) => ({ op, lines: versionsOf(file, op).map((facts) => encode(facts, setIndex)) }))
  const constant = (name: string, docs: string, initializer: string, type?: string): void => {
    source.addVariableStatement({
      isExported: true,
      declarationKind: VariableDeclarationKind.Const,
      docs: [docs],
      declarations: [{ name, initializer, ...(type === undefined ? {} : { type }) }],
    })
  }
  constant('NEWEST_OPSET', 'The newest opset that the tables know.', String(file.newestOpset))
  constant(
    'TYPE_SETS',
    'Element types that a type variable may stand for; rows refer to them by index. Only tensor types are kept.',
    list(sets),
    'readonly string[]',
  )
  constant(
    'OPERATORS',
    [
      'One row a version, oldest first: `since|inputs|outputs|type variables|attributes`, items separated by spaces.',
      'Inputs and outputs are `name:type`, `name?:type` (optional) or `name*:type` (variadic). Type variables are `T=index`',
      'into TYPE_SETS. Attributes are `name:type`, `name:type=default` (JSON) or `name:type!` (required).',
    ].join('\n'),
    `{\n${rows.map(({ op, lines }) => `${op}: ${list(lines)},`).join('\n')}\n}`,
    'Readonly<Record<string, readonly string[]>>',
  )
  constant(
    'FORMER_NAMES',
    'What an argument was called in older versions: operator, name of today, older name.',
    JSON.stringify(FORMER_NAMES).replaceAll('"', "'"),
    'Readonly<Record<string, Readonly<Record<string, string>>>>',
  )
  return source
}

function list(items: readonly string[]): string {
  return `[\n${items.map((item) => `'${item.replaceAll("'", "\\'")}',`).join('\n')}\n]`
}

function encode(facts: OperatorFacts, setIndex: (types: readonly string[]) => number): string {
  if (facts.deprecated === true) return `${facts.since}|deprecated`
  const marks = { single: '', optional: '?', variadic: '*' } as const
  const formals = (all: OperatorFacts['in']) => all.map(([name, kind, type]) => `${name}${marks[kind]}:${type}`)
  const types = Object.entries(facts.types).map(([name, allowed]) => `${name}=${setIndex(allowed)}`)
  const attributes = Object.entries(facts.attributes).map(([name, { type, required, default: value }]) => {
    const suffix = required ? '!' : value === undefined ? '' : `=${JSON.stringify(value)}`
    return `${name}:${type}${suffix}`
  })
  const parts = [[String(facts.since)], formals(facts.in), formals(facts.out), types, attributes]
  const items = parts.flat()
  const broken = items.find((item) => /[\s|]/.test(item))
  if (broken !== undefined) throw new Error(`${facts.op} ${facts.since}: "${broken}" does not fit the table's format`)
  return parts.map((part) => part.join(' ')).join('|')
}

import { statSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { DTYPES } from '../../src/ir/dtype.ts'
import { NEWEST_OPSET, OPERATORS } from '../../src/ops/generated/schemas.ts'
import {
  allowedTypes,
  attributeDefault,
  inputIndex,
  type OperatorSchema,
  schemaOf,
  supports,
  versionsOf,
} from '../../src/ops/schema.ts'
import { type OperatorFacts, readSchemas } from '../../tools/ops/facts.ts'

const file = readSchemas()

/** A decoded schema in the spelling of the JSON file. */
function asFacts(schema: OperatorSchema): unknown {
  const formals = (all: OperatorSchema['inputs']) => all.map(({ name, kind, type }) => [name, kind, type])
  const attributes = [...schema.attributes].map(([name, { type, required, default: fallback }]) => {
    return [name, { type, ...(required ? { required } : {}), ...(fallback === undefined ? {} : { default: fallback }) }]
  })
  return {
    op: schema.op,
    since: schema.since,
    in: formals(schema.inputs),
    out: formals(schema.outputs),
    attributes: Object.fromEntries(attributes),
    types: Object.fromEntries([...schema.types].map(([name, types]) => [name, [...types]])),
  }
}

function trimmed({ op, since, in: inputs, out, attributes, types }: OperatorFacts): unknown {
  const formals = (all: OperatorFacts['in']) => all.map(([name, kind, type]) => [name, kind, type])
  const known = (names: readonly string[]) => names.filter((name) => Object.hasOwn(DTYPES, name))
  const kept = Object.entries(types).map(([name, allowed]) => [name, known(allowed)])
  return { op, since, in: formals(inputs), out: formals(out), attributes, types: Object.fromEntries(kept) }
}

describe('schema tables', () => {
  it('say of every version what the extracted schemas say', () => {
    const ops = Object.keys(OPERATORS)
    expect(ops.length).toBeGreaterThan(75)
    const expected = file.operators.filter((facts) => ops.includes(facts.op) && facts.deprecated !== true)
    expect(ops.flatMap((op) => versionsOf(op).map(asFacts))).toEqual(expected.map(trimmed))
    expect(NEWEST_OPSET).toBe(file.newestOpset)
  })

  it('stay small enough to be loaded at every start', () => {
    expect(statSync(new URL('../../src/ops/generated/schemas.ts', import.meta.url)).size).toBeLessThan(50_000)
  })

  it('give the version that an opset means', () => {
    expect(schemaOf('Softmax', 12)?.since).toBe(11)
    expect(schemaOf('Softmax', 13)?.since).toBe(13)
    expect(schemaOf('Add', 1000)?.since).toBe(14)
    expect(schemaOf('Gelu', 19)).toBeNull()
    expect(schemaOf('NoSuchOperator', 20)).toBeNull()
    expect(schemaOf('toString', 20)).toBeNull()
  })

  it('tell what an operator takes', () => {
    expect(supports('LayerNormalization', 16)).toBe(false)
    expect(supports('LayerNormalization', 17)).toBe(true)
    expect(supports('Max', 11, 'int64')).toBe(false)
    expect(supports('Max', 12, 'int64')).toBe(true)
    expect(supports('Equal', 10, 'float')).toBe(false)
    expect(supports('ReduceMax', 18, 'bool')).toBe(false)
    expect(supports('ReduceMax', 20, 'bool')).toBe(true)
  })

  it('find inputs and defaults by opset', () => {
    expect(inputIndex('Squeeze', 12, 'axes')).toBeNull()
    expect(inputIndex('Squeeze', 13, 'axes')).toBe(1)
    expect(inputIndex('Resize', 10, 'scales')).toBe(1)
    expect(inputIndex('Resize', 11, 'scales')).toBe(2)
    expect(attributeDefault('Softmax', 12, 'axis')).toBe(1)
    expect(attributeDefault('Softmax', 13, 'axis')).toBe(-1)
    expect(attributeDefault('LayerNormalization', 17, 'epsilon')).toBe(1e-5)
    expect(attributeDefault('Conv', 11, 'auto_pad')).toBe('NOTSET')
    const gather = schemaOf('Gather', 13) as OperatorSchema
    expect([...allowedTypes(gather, 'Tind')]).toEqual(['int32', 'int64'])
    expect([...allowedTypes(gather, 'float')]).toEqual(['float'])
  })
})

import { describe, expect, it } from 'vitest'
import { VitpassError } from '../../src/errors.ts'
import { BUILT } from '../../tools/ops/operators.ts'
import type { Case } from './case.ts'
import { elementwiseCases } from './elementwise-cases.ts'
import { networkCases } from './network-cases.ts'
import { type Fed, type Got, newGraph, runBuilt } from './run-graph.ts'
import { shapeCases } from './shape-cases.ts'

const OPSETS = [9, 10, 11, 12, 13, 14, 15, 17, 18, 20, 23, 24]
const cases = [...elementwiseCases, ...shapeCases, ...networkCases]
const named = cases.map((one) => [one.what === undefined ? one.op : `${one.op} ${one.what}`, one] as const)

function near(got: Got, expected: Fed): void {
  const dtype = expected.dtype === 'float' ? 'float32' : expected.dtype
  expect({ dtype: got.dtype, dims: got.dims }).toEqual({ dtype, dims: expected.dims })
  const close = got.data.map((x, at) => {
    const wanted = expected.data[at] ?? Number.NaN
    return Math.abs(x - wanted) <= 2e-6 * Math.max(1, Math.abs(wanted)) ? wanted : x
  })
  expect(close).toEqual(expected.data)
}

function refused({ inputs, build }: Case, opset: number): VitpassError | undefined {
  const { b, values } = newGraph(opset, inputs)
  try {
    build(b, ...values)
  } catch (error) {
    if (error instanceof VitpassError) return error
    throw error
  }
  return undefined
}

describe('builder methods', () => {
  it('are all tried', () => {
    const tried = new Set(cases.map((one) => one.op))
    expect(Object.keys(BUILT).filter((op) => !tried.has(op))).toEqual([])
  })

  it.each(named)('%s gives what arithmetic gives, in every opset that has it', async (_, one) => {
    for (const opset of OPSETS.filter((version) => version >= (one.from ?? 0))) {
      const { results } = await runBuilt(opset, one.inputs, one.build)
      expect(results.length).toBe(one.expected.length)
      for (const [at, expected] of one.expected.entries()) near(results[at] as Got, expected)
    }
  })

  const late = named.filter(([, one]) => one.from !== undefined)
  it.each(late)('%s is refused below its opset, with the opset to raise to', (_, one) => {
    for (const opset of OPSETS.filter((version) => version < (one.from ?? 0))) {
      const error = refused(one, opset)
      expect(error?.code).toBe('MODEL_UNSUPPORTED')
      expect(error?.message).toContain(`opset ${opset}`)
      const raised = Number(/^raise the model's opset to (\d+) or later$/.exec(error?.remedy ?? '')?.[1])
      expect(raised).toBeGreaterThan(opset)
      expect(raised).toBeLessThanOrEqual(one.from ?? 0)
    }
  })
})

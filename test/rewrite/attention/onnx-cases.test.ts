import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Attribute, attr } from '../../../src/ir/attribute.ts'
import type { DType } from '../../../src/ir/dtype.ts'
import { Graph } from '../../../src/ir/graph.ts'
import { Model } from '../../../src/ir/model.ts'
import { Value } from '../../../src/ir/value.ts'
import { Builder } from '../../../src/ops/builder.ts'
import { onnxAttention } from '../../../src/rewrite/attention/onnx.ts'
import { contextOf, open } from '../../support/graphs.ts'
import type { Feed } from '../../support/ort.ts'
import { type Dense, readSafetensors } from '../../support/safetensors.ts'

/** One node test of the onnx package: see fixtures/export/attention_cases.py. */
interface OperatorCase {
  readonly name: string
  readonly opset: number
  readonly attributes: Readonly<Record<string, number>>
  /** Names of the node's inputs, empty where it has none in a slot. */
  readonly inputs: readonly string[]
  readonly types: Readonly<Record<string, DType>>
  readonly outputs: readonly string[]
  readonly slots: readonly string[]
}

const FOLDER = resolve(import.meta.dirname, '../../../fixtures/operators')
const { cases }: { cases: readonly OperatorCase[] } = JSON.parse(readFileSync(join(FOLDER, 'attention.json'), 'utf8'))
const tensors = readSafetensors(join(FOLDER, 'attention.safetensors'))

/** The newest opset that ONNX Runtime has Attention of. */
const RUNTIME_OPSET = 24

/** Why the cases that are refused are refused, by what is told of them. */
const REFUSED: readonly (readonly [of: (about: OperatorCase) => boolean, reason: RegExp])[] = [
  [({ attributes }) => attributes.is_causal === 1, /causal/],
  [
    ({ attributes, inputs }) => attributes.softcap !== undefined && (inputs[3] ?? '') !== '',
    /softcap.*which comes first/,
  ],
  [({ attributes }) => (attributes.left_window_size ?? -1) >= 0, /window/],
  [({ inputs }) => (inputs[4] ?? '') !== '', /past keys/],
  [({ inputs }) => (inputs[6] ?? '') !== '', /key lengths/],
  [({ slots }) => slots.length > 1, /present keys or its scores are read/],
]

function tensor({ name }: OperatorCase, value: string): Dense {
  return tensors.get(`${name}.${value}`) ?? expect.fail(`no tensor ${name}.${value}`)
}

function build(about: OperatorCase) {
  const graph = new Graph(about.name)
  const inputs = new Map<string, Value>()
  for (const [name, dtype] of Object.entries(about.types)) {
    const value = new Value(name)
    value.type = { kind: 'tensor', dtype, dims: [...tensor(about, name).dims] }
    graph.addInput(value)
    inputs.set(name, value)
  }
  const attributes = Object.fromEntries(
    Object.entries(about.attributes).map(([name, x]): [string, Attribute] => [
      name,
      name === 'scale' || name === 'softcap' ? attr.float(x) : attr.int(x),
    ]),
  )
  const made = graph.emit(
    'Attention',
    about.inputs.map((name) => inputs.get(name) ?? null),
    { attributes, outputs: about.slots.length },
  )
  for (const [slot, name] of about.slots.entries()) {
    const value = made[slot]
    if (name === '' || value === undefined) continue
    graph.rename(value, name)
    value.type = { kind: 'tensor', dtype: about.types.Q ?? 'float', dims: null }
    graph.addOutput(value)
  }
  const model = new Model(10, new Map([['', about.opset]]), graph)
  return { model, inputs: [...inputs.values()] }
}

function feedsOf(about: OperatorCase): Record<string, Feed> {
  return Object.fromEntries(Object.keys(about.types).map((name) => [name, tensor(about, name)]))
}

/** The lowering of the case's node, or the reason why there is none. */
function lower(about: OperatorCase): Model | string {
  const drawn = build(about)
  const { graph } = drawn.model
  const [node] = graph.nodes
  const context = contextOf(drawn)
  const lowering = node === undefined ? null : onnxAttention(node, context)
  if (lowering === null || node === undefined) return expect.fail('Attention is not known')
  if ('reason' in lowering) return lowering.reason
  const builder = new Builder(graph, about.opset, { dtypeOf: (value) => context.facts.dtype(value) })
  const [output] = node.outputs
  if (output == null) return expect.fail('no output')
  graph.replaceOutput(output, lowering.build(builder))
  graph.removeNodes([node])
  graph.sort()
  return drawn.model
}

async function answers(model: Model, about: OperatorCase): Promise<Dense> {
  const runner = await open(model)
  try {
    return (await runner.run(feedsOf(about))).get('Y') ?? expect.fail('no output Y')
  } finally {
    await runner.close()
  }
}

function near(got: Dense, wanted: Dense, tolerance: number): void {
  expect(got.dims).toEqual(wanted.dims)
  const worst = wanted.data.reduce((most, x, i) => Math.max(most, Math.abs(x - (got.data[i] ?? Number.NaN))), 0)
  expect(worst).toBeLessThan(tolerance)
}

const reasonFor = (about: OperatorCase) => REFUSED.find(([of]) => of(about))?.[1]
const tolerance = (about: OperatorCase) => (about.types.Q === 'float16' ? 2e-3 : 1e-5)

describe('node tests of the onnx package', () => {
  it('are of many kinds', () => {
    expect(cases.filter((about) => reasonFor(about) === undefined).length).toBeGreaterThan(15)
    for (const [of] of REFUSED) expect(cases.some(of)).toBe(true)
  })

  for (const about of cases) {
    const reason = reasonFor(about)
    if (reason !== undefined) {
      it(`${about.name} is refused: ${reason.source}`, () => expect(lower(about)).toMatch(reason))
      continue
    }
    it(`${about.name} is lowered to what it should answer`, async () => {
      const lowered = lower(about)
      if (typeof lowered === 'string') return expect.fail(lowered)
      expect(lowered.graph.nodes.map((node) => node.opType)).toContain('Softmax')
      const got = await answers(lowered, about)
      near(got, tensor(about, 'Y'), tolerance(about))
      if (about.opset <= RUNTIME_OPSET) near(got, await answers(build(about).model, about), tolerance(about))
    })
  }
})

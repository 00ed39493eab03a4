import { infer } from '../../src/analysis/infer.ts'
import { type Dim, int, sym } from '../../src/ir/dim.ts'
import type { DType } from '../../src/ir/dtype.ts'
import { Graph } from '../../src/ir/graph.ts'
import { Model } from '../../src/ir/model.ts'
import { type DeclaredDim, Value } from '../../src/ir/value.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { Builder } from '../../src/ops/builder.ts'
import { applyRules, type Rule, type RuleContext } from '../../src/rewrite/engine.ts'
import { OrtRunner, type Reading } from './ort.ts'
import type { Dense } from './safetensors.ts'

/** Sizes that stand for the names of symbolic axes in tests. */
export const NAMED: Readonly<Record<string, number>> = { batch: 3, tokens: 5, height: 32, width: 48 }

export interface Sketch {
  readonly model: Model
  readonly inputs: readonly Value[]
}

/** A model of one graph, drawn by hand: `draw` gets a builder and the inputs and returns the outputs. */
export function sketch(
  opset: number,
  inputs: Readonly<Record<string, readonly DeclaredDim[]>>,
  draw: (builder: Builder, inputs: Value[], graph: Graph) => readonly Value[],
  dtype: DType = 'float',
): Sketch {
  const graph = new Graph('sketch')
  const values = Object.entries(inputs).map(([name, dims]) => {
    const value = new Value(name)
    value.type = { kind: 'tensor', dtype, dims }
    graph.addInput(value)
    return value
  })
  const model = new Model(10, new Map([['', opset]]), graph)
  const outputs = draw(new Builder(graph, opset), values, graph)
  for (const [i, output] of outputs.entries()) {
    graph.rename(output, `y${i}`)
    output.type ??= { kind: 'tensor', dtype, dims: null }
    graph.addOutput(output)
  }
  return { model, inputs: values }
}

/** Facts of a sketch, its named axes at the sizes of `NAMED`. */
export function contextOf({ model, inputs }: Sketch): RuleContext {
  const axes = new Map(
    inputs.map((value) => [
      value,
      (value.declaredDims ?? []).map(
        (dim): Dim => (typeof dim === 'number' ? int(dim) : sym(String(dim), NAMED[String(dim)] ?? 2)),
      ),
    ]),
  )
  const facts = infer(model.graph, model.opset, axes)
  return { graph: model.graph, opset: model.opset, facts }
}

export function rewrite(drawn: Sketch, rules: readonly Rule[]): Record<string, number> {
  return applyRules(drawn.model, rules, () => contextOf(drawn))
}

/** Operators of the graph in order, as `Add`, `com.microsoft:Gelu`. */
export function operators({ model }: Sketch): string[] {
  return model.graph.nodes.map((node) => node.operator)
}

/** A session of the model as it stands. */
export function open(model: Model, reading?: Reading): Promise<OrtRunner> {
  return OrtRunner.open(serializeModel(model), 1, reading)
}

/** What ONNX Runtime computes for seeded inputs. */
export async function compute(
  model: Model,
  feeds: Readonly<Record<string, Dense>>,
  reading?: Reading,
): Promise<Map<string, Dense>> {
  model.graph.touch()
  const runner = await open(model, reading)
  try {
    return await runner.run(feeds)
  } finally {
    await runner.close()
  }
}

/** A tensor of seeded numbers between -2 and 2. */
export function noise(dims: readonly number[], seed = 1): Dense {
  let state = seed
  const data = Float32Array.from({ length: dims.reduce((n, dim) => n * dim, 1) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state / 2 ** 32 - 0.5) * 4
  })
  return { data, dims }
}

/** Seeded inputs of a sketch at the sizes of `NAMED`. */
export function feedsOf({ inputs }: Sketch): Record<string, Dense> {
  return Object.fromEntries(
    inputs.map((value, i) => [
      value.name,
      noise(
        (value.declaredDims ?? []).map((dim) => (typeof dim === 'number' ? dim : (NAMED[String(dim)] ?? 2))),
        i + 1,
      ),
    ]),
  )
}

/** The largest absolute difference of two sets of outputs; infinite where shapes differ. */
export function largestDifference(a: ReadonlyMap<string, Dense>, b: ReadonlyMap<string, Dense>): number {
  let worst = 0
  for (const [name, { data, dims }] of a) {
    const other = b.get(name)
    if (other === undefined || other.dims.join() !== dims.join()) return Number.POSITIVE_INFINITY
    for (const [i, x] of data.entries()) {
      const y = other.data[i] ?? Number.NaN
      if (!Object.is(x, y)) worst = Math.max(worst, Number.isNaN(x - y) ? Number.POSITIVE_INFINITY : Math.abs(x - y))
    }
  }
  return worst
}

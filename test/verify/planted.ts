import { join } from 'node:path'
import { registry } from '../../passes/index.ts'
import type { Graph } from '../../src/ir/graph.ts'
import type { Model } from '../../src/ir/model.ts'
import type { Node } from '../../src/ir/node.ts'
import { boolTensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import { readModel, writeModel } from '../../src/onnx/node.ts'
import { Builder } from '../../src/ops/builder.ts'
import type { OptionsByPass } from '../../src/pipeline/options.ts'
import { runPasses } from '../../src/pipeline/run.ts'

/** Passes, then a change that makes the result wrong, then a file. */
export interface Planting {
  readonly passes?: readonly string[]
  readonly options?: OptionsByPass
  readonly spoil?: (model: Model) => void
}

/** Writes what the passes and the change make of an export, as `transformed.onnx` in the folder, and gives its path. */
export async function plant(original: string, folder: string, planting: Planting = {}): Promise<string> {
  const { passes = ['padproof'], options = {}, spoil } = planting
  const model = await readModel(original)
  runPasses(registry, model, passes, options)
  spoil?.(model)
  model.graph.sort()
  const path = join(folder, 'transformed.onnx')
  await writeModel(model, path)
  return path
}

/** The faults that verification has to find, by what is wrong. */
export const SPOILED = {
  /** The last block's softmax reads its scores without the mask. */
  maskMissing: ({ graph }: Model): void => {
    const softmax = required(graph.nodes.findLast((node) => node.is('Softmax')))
    softmax.setInput(0, producerOf(softmax, 0).input(0))
  },
  /** The first block's mask hides queries instead of keys. */
  maskOnQueries: ({ graph, opset }: Model): void => {
    const add = producerOf(required(graph.nodes.find((node) => node.is('Softmax'))), 0)
    add.setInput(1, new Builder(graph, opset).transpose(required(add.input(1)), { perm: [0, 1, 3, 2] }))
  },
  /** Positions are those of a grid whose rows and columns are swapped. */
  gridTurned: ({ graph }: Model): void => {
    const [rows, cols] = [named(graph, 'vitpass/rows'), named(graph, 'vitpass/cols')]
    const readers = positionReaders(rows).map((node) => [node, cols] as const)
    for (const [node, other] of [...readers, ...positionReaders(cols).map((node) => [node, rows] as const)])
      node.setInput(0, other)
  },
  /** Every image gets the rows of the tallest in the batch. */
  gridOfBatch: ({ graph, opset }: Model): void => {
    const rows = named(graph, 'vitpass/rows')
    const b = new Builder(graph, opset, { dtypeOf: () => 'int64' })
    const tallest = b.expand(b.reduceMax(rows, { axes: [0], keepdims: 1 }), b.shape(rows))
    for (const node of positionReaders(rows)) node.setInput(0, tallest)
  },
  /** Tokens keep what they hold at padding. */
  tokensNotZeroed: ({ graph }: Model): void => keepAll(graph, 'last_hidden_state'),
  /** The pooled output of an absent image is what the network makes of nothing. */
  pooledNotZeroed: ({ graph }: Model): void => keepAll(graph, 'pooler_output'),
  outputsSwapped:
    (one: string, other: string) =>
    ({ graph }: Model): void => {
      const find = (name: string) => required(graph.outputs.find((output) => output.name === name))
      const [a, b] = [find(one), find(other)]
      a.name = other
      b.name = one
      const { type } = a
      a.type = b.type
      b.type = type
      graph.touch()
    },
  outputMissing:
    (name: string) =>
    ({ graph }: Model): void => {
      graph.outputs.splice(
        graph.outputs.findIndex((output) => output.name === name),
        1,
      )
      graph.touch()
    },
  /** ONNX Runtime refuses an axis that there is not. */
  axisWrong: ({ graph }: Model): void => {
    const softmax = required(graph.nodes.find((node) => node.is('Softmax')))
    softmax.setAttribute('axis', { type: 'int', value: 9n })
  },
} as const

/** Lets the last Where before an output choose its first operand always. */
function keepAll(graph: Graph, output: string): void {
  const where = required(graph.outputs.find(({ name }) => name === output)?.producer)
  if (!where.is('Where')) throw new Error(`${output} is made by ${where.opType}`)
  where.setInput(0, graph.addInitializer('always', boolTensor([1], [true])))
}

function positionReaders(value: Value): Node[] {
  return value.users.filter((node) => node.label.startsWith('vitpass/posenc') && node.is('Cast'))
}

function producerOf(node: Node, slot: number): Node {
  return required(node.input(slot)?.producer)
}

function named(graph: Graph, name: string): Value {
  return required(graph.nodes.flatMap(({ outputs }) => outputs).find((value) => value?.name === name))
}

function required<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error('the transformed graph is not what this test expects')
  return value
}

import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { isComputedTable, likelyResize } from '../../src/analysis/likely-resize.ts'
import { readOperand } from '../../src/analysis/position-operand.ts'
import { type PositionTable, readTable } from '../../src/analysis/positions.ts'
import { followTokens } from '../../src/analysis/token-flow.ts'
import { trace } from '../../src/analysis/trace.ts'
import { run } from '../../src/index.ts'
import type { Value } from '../../src/ir/value.ts'
import { readModel } from '../../src/onnx/node.ts'
import { drawVit, inHeads, PATCH, WIDTH, weights } from '../support/drawn-vit.ts'

const FIXTURES = resolve(import.meta.dirname, '../../fixtures')

/** The table of an export, its attention written out, and how it is probably resized. */
async function guess(file: string) {
  const model = await readModel(resolve(FIXTURES, file))
  await run(model, ['eager', 'dynshape'])
  const traced = trace(model)
  const flow = followTokens(model.graph, traced)
  const site = flow.operands.find(({ kind }) => kind === 'tokens') ?? expect.fail('there is no position table')
  const table = readTable(readOperand(site, traced), traced, null)
  return { table, ...likelyResize(table, flow, traced) }
}

describe('how a baked table is probably resized', () => {
  it.each([
    ['timm-cls-p16-g4/ts17-eager-names.onnx', 'aa-cubic', /one product/],
    ['timm-deit3-p16-g4/dynamo18-sdpa-batch.onnx', 'aa-cubic', /one product/],
    ['dinov2reg-p14-g5/dynamo23-sdpa-static-b2.onnx', 'aa-cubic', /inserted behind/],
    ['vit-p16-g4/ts14-eager-names.onnx', 'cubic', /apart/],
    ['clip-p16-g4/ts14-sdpa-names.onnx', 'cubic', /apart/],
    ['torchvision-p16-g4/ts17-eager-names.onnx', 'cubic-corners', /own module/],
  ])('%s: %s', async (file, kind, because) => {
    const found = await guess(file)
    expect(found.kind).toBe(kind)
    expect(found.because).toMatch(because)
    expect(isComputedTable(found.table)).toBe(false)
  })
})

it('does not take three projections that an optimiser put into one product for one', async () => {
  const model = drawVit(
    ({ b, tokens }) => {
      const x = b.add(tokens, weights(b, [1, 16, WIDTH], 71))
      const parts = b.split(b.matMul(x, weights(b, [WIDTH, 3 * WIDTH], 72)), { split: [WIDTH, WIDTH, WIDTH], axis: -1 })
      const [q, k, v] = parts.map((part, i) => inHeads(b, b.add(part, weights(b, [WIDTH], 73 + i)))) as [
        Value,
        Value,
        Value,
      ]
      const scores = b.matMul(q, b.transpose(k, { perm: [0, 1, 3, 2] }))
      return [b.matMul(b.softmax(scores, { axis: -1 }), v)]
    },
    { dims: ['batch', 3, 4 * PATCH, 4 * PATCH] },
  )
  const traced = trace(model)
  const flow = followTokens(model.graph, traced)
  const site = flow.operands.find(({ kind }) => kind === 'tokens') ?? expect.fail('there is no position table')
  expect(likelyResize(readTable(readOperand(site, traced), traced, null), flow, traced).kind).toBe('cubic')
})

describe('a table of sines and cosines', () => {
  const table = (rows: number, cols: number, value: (row: number, col: number, channel: number) => number) => {
    const hidden = 8
    const data = Float64Array.from({ length: rows * cols * hidden }, (_, i) => {
      const place = Math.floor(i / hidden)
      return value(Math.floor(place / cols), place % cols, i % hidden)
    })
    return { table: { dims: [rows, cols, hidden], data } } as unknown as PositionTable // only the table is looked at
  }

  it('is told by channels that follow the row or the column alone', () => {
    expect(isComputedTable(table(4, 5, (row, col, d) => Math.sin((d < 4 ? row : col) / (d + 1))))).toBe(true)
  })

  it('is not seen in a learned table, nor in one too small to tell', () => {
    expect(isComputedTable(table(4, 5, (row, col, d) => Math.sin(row * 3 + col * 7 + d)))).toBe(false)
    expect(isComputedTable(table(1, 5, (_, col) => col))).toBe(false)
  })
})

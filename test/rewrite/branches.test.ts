import { describe, expect, it } from 'vitest'
import type { Attribute } from '../../src/ir/attribute.ts'
import { Graph } from '../../src/ir/graph.ts'
import { renameShadowing } from '../../src/ir/shadow.ts'
import { floatTensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import { verify } from '../../src/ir/verify.ts'
import { Builder } from '../../src/ops/builder.ts'
import { canonicalRules } from '../../src/rewrite/rules/index.ts'
import { compute, feedsOf, largestDifference, operators, rewrite, type Sketch, sketch } from '../support/graphs.ts'

const TOKENS = { x: ['batch', 'tokens', 8] }

type Draw = (builder: Builder) => Value

/** An If with one output; each branch is drawn into a graph of its own, and may read the values around it. */
function choose(graph: Graph, condition: Value, yes: Draw, no: Draw): Value {
  const body = (name: string, draw: Draw): Attribute => {
    const branch = new Graph(name, graph)
    branch.addOutput(draw(new Builder(branch, 17)))
    return { type: 'graph', value: branch }
  }
  const attributes = { then_branch: body('yes', yes), else_branch: body('no', no) }
  const [output] = graph.emit('If', [condition], { attributes })
  return output as Value
}

/** True where a value has more axes than `than`, whatever its size: 1 or 0 as a bool. */
function hasMoreAxes(b: Builder, x: Value, than: number): Value {
  return b.greater(b.size(b.shape(x)), b.int64(than))
}

async function settle(draw: () => Sketch): Promise<string[]> {
  const [original, drawn] = [draw(), draw()]
  rewrite(drawn, canonicalRules)
  verify(drawn.model)
  const feeds = feedsOf(drawn)
  expect(largestDifference(await compute(original.model, feeds), await compute(drawn.model, feeds))).toBe(0)
  expect(rewrite(drawn, canonicalRules)).toEqual({})
  return operators(drawn)
}

describe('decided branch', () => {
  const drawn = (than: number) => () =>
    sketch(17, TOKENS, (b, [x = b.int64(0)], graph) => {
      const chosen = choose(
        graph,
        hasMoreAxes(b, x, than),
        (inner) => inner.mul(inner.add(x, inner.constant(floatTensor([8], new Array(8).fill(2)))), 3),
        (inner) => inner.relu(x),
      )
      return [b.tanh(chosen)]
    })

  it('is what stays of an If whose condition holds at every size', async () => {
    expect(await settle(drawn(2))).toEqual(['Add', 'Mul', 'Tanh'])
  })

  it('is the other one where it never holds', async () => {
    expect(await settle(drawn(3))).toEqual(['Relu', 'Tanh'])
  })

  it('is found inside another, which reads the values around both', async () => {
    const nested = () =>
      sketch(17, TOKENS, (b, [x = b.int64(0)], graph) => {
        const yes: Draw = (inner) => {
          const square = inner.mul(x, x)
          const condition = hasMoreAxes(inner, square, 5)
          return choose(
            inner.graph,
            condition,
            (deep) => deep.neg(square),
            (deep) => deep.add(square, x),
          )
        }
        return [choose(graph, hasMoreAxes(b, x, 2), yes, (inner) => inner.relu(x))]
      })
    expect(await settle(nested)).toEqual(['Mul', 'Add'])
  })

  it('is left open where the condition follows a size', async () => {
    const open = () =>
      sketch(17, TOKENS, (b, [x = b.int64(0)], graph) => {
        const batch = b.squeeze(b.gather(b.shape(x), b.int64([0]), { axis: 0 }), { axes: [0] })
        const condition = b.greater(batch, b.int64(2))
        return [
          choose(
            graph,
            condition,
            (inner) => inner.neg(x),
            (inner) => inner.relu(x),
          ),
        ]
      })
    expect(await settle(open)).toContain('If')
  })
})

describe('slice end', () => {
  const length = (b: Builder, x: Value, axis: number) => b.gather(b.shape(x), b.int64([axis]), { axis: 0 })

  it('that is computed, and the end of the axis, is open', async () => {
    const ops = await settle(() =>
      sketch(17, TOKENS, (b, [x = b.int64(0)]) => {
        const rest = b.sub(length(b, x, 1), b.int64([2]))
        return [b.slice(x, { starts: b.int64([2]), ends: b.add(b.int64([2]), rest), axes: b.int64([1]) })]
      }),
    )
    expect(ops).toEqual(['Slice'])
  })

  it('that is another size stays', async () => {
    const ops = await settle(() =>
      sketch(17, TOKENS, (b, [x = b.int64(0)]) => [
        b.slice(x, { starts: b.int64([0]), ends: length(b, x, 0), axes: b.int64([1]) }),
      ]),
    )
    expect(ops).toEqual(['Shape', 'Gather', 'Slice'])
  })
})

describe('values of a subgraph that hide others', () => {
  const draw = (numbers: readonly [number, number]) => () =>
    sketch(17, TOKENS, (b, [x = b.int64(0)], graph) => {
      const outer = b.constant(floatTensor([], [numbers[0]]))
      const batch = b.squeeze(b.gather(b.shape(x), b.int64([0]), { axis: 0 }), { axes: [0] })
      const hiding: Draw = (inner) => {
        const own = inner.constant(floatTensor([], [numbers[1]]))
        own.name = outer.name
        return inner.mul(x, own)
      }
      const chosen = choose(graph, b.greater(batch, b.int64(0)), hiding, (inner) => inner.mul(x, outer))
      return [b.add(chosen, outer)]
    })

  it('get names of their own where they are the same constant', async () => {
    const [original, renamed] = [draw([2, 2])(), draw([2, 2])()]
    verify(renamed.model)
    expect(renameShadowing(renamed.model.graph)).toBe(1)
    verify(renamed.model)
    expect(renameShadowing(renamed.model.graph)).toBe(0)
    const feeds = feedsOf(renamed)
    expect(largestDifference(await compute(original.model, feeds), await compute(renamed.model, feeds))).toBe(0)
  })

  it('are refused, and keep their names, where they differ', () => {
    const { model } = draw([2, 3])()
    const { graph } = model
    expect(() => verify(model)).toThrow(/two values are named/)
    const edits = graph.edits
    expect(() => renameShadowing(graph)).toThrow(/two values are named .*, one of them in a subgraph/)
    expect(graph.edits).toBe(edits)
  })
})

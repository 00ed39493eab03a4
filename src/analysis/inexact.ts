import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { dependents } from './dependence.ts'
import type { MixingProblem, TokenFlow } from './token-sites.ts'

/** An output of which padding takes a part in what it holds for valid patches, and the first node that lets it. */
export interface InexactOutput {
  readonly output: Value
  readonly problem: MixingProblem
}

/**
 * The token flow up to where a dense head begins to blend patches, and the outputs that lie behind that. What stands in the head is no
 * longer looked at, but for nodes that let one image of the batch see another.
 */
export function leaveDense(
  graph: Graph,
  flow: TokenFlow,
): { readonly flow: TokenFlow; readonly inexact: InexactOutput[] } {
  const dense = flow.problems.filter(({ isDense }) => isDense === true)
  const behind = dense.map((problem) => ({ problem, values: dependents(graph, ...made(problem.node)) }))
  const blended = (node: Node): boolean => made(node).some((value) => behind.some(({ values }) => values.has(value)))
  const apart = <T extends { readonly node: Node }>(sites: readonly T[]): T[] =>
    sites.filter(({ node }) => !blended(node))
  return {
    flow: {
      ...flow,
      softmaxes: apart(flow.softmaxes),
      poolings: apart(flow.poolings),
      convolutions: apart(flow.convolutions),
      operands: apart(flow.operands),
      problems: flow.problems.filter((problem) => problem.mixesImages === true || !blended(problem.node)),
    },
    inexact: graph.outputs.flatMap((output) => {
      const first = behind.find(({ values }) => values.has(output))
      return first === undefined ? [] : [{ output, problem: first.problem }]
    }),
  }
}

function made(node: Node): Value[] {
  return node.outputs.filter((value) => value !== null)
}

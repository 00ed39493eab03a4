import type { Value } from '../../ir/value.ts'
import { isEverywhere, type Rule } from '../engine.ts'

/** Operators that keep finite scores finite. */
const FINITE = new Set(['Mul', 'Div', 'Cast', 'Reshape', 'Transpose', 'Identity'])

/**
 * `Where(IsNaN(p), 0, p)` with `p = Softmax(scores)` becomes `p`. The guard is for rows that are masked whole; scores that
 * come straight from a matrix product are finite, so that there are none. Refuses while a mask is still added to the scores:
 * one that is always true goes first.
 */
export const safeSoftmax: Rule = {
  name: 'softmax guard',
  match(node, context) {
    const old = node.output(0)
    const probabilities = node.input(2)
    const test = node.input(0)?.producer
    if (!node.is('Where') || old === null || probabilities === null || !test?.is('IsNaN')) return null
    const softmax = probabilities.producer
    if (test.input(0) !== probabilities || !softmax?.is('Softmax')) return null
    if (!isEverywhere(node.input(1), (n) => n === 0, context) || !isProduct(softmax.input(0))) return null
    return { old, next: probabilities }
  },
}

function isProduct(scores: Value | null): boolean {
  for (let value = scores; value !== null; ) {
    const node = value.producer
    if (node === null) return false
    if (node.is('MatMul', 'Einsum') || node.opType === 'FusedMatMul') return true
    if (node.domain !== '' || !FINITE.has(node.opType)) return false
    value = node.inputs.find((input) => input !== null && input.producer !== null) ?? null
  }
  return false
}

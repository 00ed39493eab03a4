import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { type Facts, singleNumber } from './facts.ts'

/** A Gelu that is written out. */
export interface Gelu {
  readonly input: Value
  /** The factor `1 + erf(...)` or `1 + tanh(...)`. */
  readonly gate: Value
  /** `none`: by the error function; `tanh`: Hendrycks and Gimpel's approximation. */
  readonly approximate: 'none' | 'tanh'
}

/** Constants of half precision files differ from the exact ones by this much, relatively. */
const TOLERANCE = 2e-3

/**
 * Reads a written-out Gelu off its last Mul: a product of x, 0.5 and `1 + erf(x / sqrt 2)`, or of x, 0.5 and
 * `1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))`, its factors in any order and grouping.
 */
export function matchGelu(node: Node, facts: Facts): Gelu | null {
  if (!node.is('Mul')) return null
  const { numbers, others } = factorsOf(node, facts)
  if (!near(numbers, 0.5) || others.length !== 2) return null
  for (const [input, gate] of [others, [...others].reverse()]) {
    if (input === undefined || gate === undefined) continue
    const inner = onePlus(gate, facts)
    if (inner?.producer?.is('Erf') && isScaled(inner.producer.input(0), input, Math.SQRT1_2, facts)) {
      return { input, gate, approximate: 'none' }
    }
    if (inner?.producer?.is('Tanh') && isTanhArgument(inner.producer.input(0), input, facts)) {
      return { input, gate, approximate: 'tanh' }
    }
  }
  return null
}

function near(a: number, b: number): boolean {
  return Math.abs(a - b) <= TOLERANCE * Math.abs(b)
}

/** The factors of a product, Mul within Mul and Div by a number taken apart: its numbers multiplied, and the rest. */
function factorsOf(node: Node, facts: Facts): { numbers: number; others: Value[] } {
  let numbers = 1
  const others: Value[] = []
  const visit = (value: Value | null, depth: number): void => {
    if (value === null) return
    const number = singleNumber(value, facts)
    const maker = value.producer
    if (number !== null) numbers *= number
    else if (depth < 3 && maker?.is('Mul') && value.users.length === 1)
      for (const input of maker.inputs) visit(input, depth + 1)
    else if (
      depth < 3 &&
      maker?.is('Div') &&
      value.users.length === 1 &&
      singleNumber(maker.input(1), facts) !== null
    ) {
      numbers /= singleNumber(maker.input(1), facts) ?? 1
      visit(maker.input(0), depth + 1)
    } else others.push(value)
  }
  for (const input of node.inputs) visit(input, 0)
  return { numbers, others }
}

/** `y` of `1 + y`. */
function onePlus(value: Value, facts: Facts): Value | null {
  const node = value.producer
  if (!node?.is('Add')) return null
  const slot = [0, 1].find((i) => singleNumber(node.input(i), facts) === 1)
  return slot === undefined ? null : node.input(1 - slot)
}

/** True where the value is `by * base`, written as Mul or Div. */
function isScaled(value: Value | null, base: Value, by: number, facts: Facts): boolean {
  const node = value?.producer
  if (node?.is('Div')) return node.input(0) === base && near(singleNumber(node.input(1), facts) ?? 0, 1 / by)
  if (!node?.is('Mul')) return false
  return [0, 1].some((i) => node.input(i) === base && near(singleNumber(node.input(1 - i), facts) ?? 0, by))
}

/** `sqrt(2 / pi) (x + 0.044715 x^3)`. */
function isTanhArgument(value: Value | null, x: Value, facts: Facts): boolean {
  const node = value?.producer
  if (!node?.is('Mul')) return false
  const slot = [0, 1].find((i) => near(singleNumber(node.input(i), facts) ?? 0, Math.sqrt(2 / Math.PI)))
  const sum = slot === undefined ? undefined : node.input(1 - slot)?.producer
  if (!sum?.is('Add')) return false
  const at = [0, 1].find((i) => sum.input(i) === x)
  const term = at === undefined ? undefined : sum.input(1 - at)?.producer
  if (!term?.is('Mul')) return false
  const { numbers, others } = factorsOf(term, facts)
  const power = others.reduce((n, factor) => n + powerOf(factor, x, facts), 0)
  return near(numbers, 0.044715) && power === 3
}

function powerOf(value: Value, x: Value, facts: Facts): number {
  if (value === x) return 1
  const node = value.producer
  return node?.is('Pow') && node.input(0) === x ? (singleNumber(node.input(1), facts) ?? Number.NaN) : Number.NaN
}

import type { Dense } from './strided.ts'

/** Multiplications at most: frequencies by positions, and no layer of a network. */
const LIMIT = 1 << 24

/**
 * The sum of products that an Einsum of two operands asks for, such as `i,j->ij`. Axes of length 1 broadcast.
 * @returns null for an equation with repeated letters or an ellipsis, for another number of operands, or one too large
 */
export function einsum(equation: string, operands: readonly Dense[]): Dense | null {
  const [inputs = '', output] = equation.replaceAll(' ', '').split('->')
  const specs = inputs.split(',').map((spec) => [...spec])
  const [left, right] = operands
  const [first, second] = specs
  if (output === undefined || equation.includes('.') || specs.length !== 2) return null
  if (left === undefined || right === undefined || first === undefined || second === undefined) return null
  if ([first, second, [...output]].some((letters) => new Set(letters).size !== letters.length)) return null
  return contract({ x: left, letters: first }, { x: right, letters: second }, [...output])
}

/** A MatMul of operands of any rank. */
export function matmul(left: Dense, right: Dense): Dense | null {
  const [a, b] = [left.dims.length, right.dims.length]
  const lead = Math.max(a, b, 2) - 2
  const batch = Array.from({ length: lead }, (_, axis) => `batch ${axis}`)
  const first = a === 1 ? ['sum'] : [...batch.slice(lead - a + 2), 'row', 'sum']
  const second = b === 1 ? ['sum'] : [...batch.slice(lead - b + 2), 'sum', 'col']
  const output = [...batch, ...(a === 1 ? [] : ['row']), ...(b === 1 ? [] : ['col'])]
  return contract({ x: left, letters: first }, { x: right, letters: second }, output)
}

interface Lettered {
  readonly x: Dense
  readonly letters: readonly string[]
}

function contract(left: Lettered, right: Lettered, output: readonly string[]): Dense | null {
  const lengths = new Map<string, number>()
  for (const { x, letters } of [left, right]) {
    if (letters.length !== x.dims.length) return null
    for (const [axis, letter] of letters.entries())
      lengths.set(letter, Math.max(lengths.get(letter) ?? 1, x.dims[axis] ?? 1))
  }
  const summed = [...lengths.keys()].filter((letter) => !output.includes(letter))
  const loops = [...output, ...summed]
  const counts = loops.map((letter) => lengths.get(letter) ?? 1)
  const total = counts.reduce((n, count) => n * count, 1)
  if (total > LIMIT) return null
  const strides = [left, right].map((one) => loops.map((letter) => strideOf(one, letter)))
  const inner = summed.reduce((n, letter) => n * (lengths.get(letter) ?? 1), 1)
  const data = new Float64Array(total / inner)
  const index = counts.map(() => 0)
  let [a, b] = [0, 0]
  for (let i = 0; i < total; i += 1) {
    data[Math.floor(i / inner)] = (data[Math.floor(i / inner)] ?? 0) + (left.x.data[a] ?? 0) * (right.x.data[b] ?? 0)
    for (let axis = counts.length - 1; axis >= 0; axis -= 1) {
      const [down, across] = [strides[0]?.[axis] ?? 0, strides[1]?.[axis] ?? 0]
      index[axis] = (index[axis] ?? 0) + 1
      a += down
      b += across
      if ((index[axis] ?? 0) < (counts[axis] ?? 1)) break
      a -= down * (counts[axis] ?? 1)
      b -= across * (counts[axis] ?? 1)
      index[axis] = 0
    }
  }
  return { dims: counts.slice(0, output.length), data }
}

/** How far apart neighbours along a letter lie; 0 where the operand has no such axis, or broadcasts along it. */
function strideOf({ x, letters }: Lettered, letter: string): number {
  const axis = letters.indexOf(letter)
  if (axis < 0 || x.dims[axis] === 1) return 0
  return x.dims.slice(axis + 1).reduce((n, dim) => n * dim, 1)
}

import { type Dim, floorDiv, int, isInt, minus, plus, product, roots, sizeKey, sum, sym } from '../ir/dim.ts'

/** A size that shape arithmetic makes and that has no simpler form than the operation itself. */
function opaque(op: string, n: number, ...args: readonly Dim[]): Dim {
  return args.every(isInt) ? int(n) : sym(`${op}(${args.map(sizeKey).join(',')})`, n, roots(...args))
}

/**
 * A comparison. It is decided where it holds at every size: between numbers, between equal sizes, and between a size and a
 * number that no size reaches. Otherwise its outcome at the traced sizes stays a symbol, so that nothing is folded upon it.
 */
function compared(op: string, holds: boolean, a: Dim, b: Dim): Dim {
  const always = sizeKey(a) === sizeKey(b) || (isInt(a) && a.n < 0 && isSize(b)) || (isInt(b) && b.n < 0 && isSize(a))
  return always ? int(holds ? 1 : 0) : opaque(op, holds ? 1 : 0, a, b)
}

/** True for the length of an axis, which is never negative. */
function isSize(dim: Dim): boolean {
  return dim.n >= 0 && dim.atoms.every((atom) => atom.kind !== 'sym' || !atom.id.startsWith('sub('))
}

function isTrue(dim: Dim): boolean {
  return isInt(dim) && dim.n !== 0
}

function isFalse(dim: Dim): boolean {
  return isInt(dim) && dim.n === 0
}

/** What Where gives: a branch where the condition is decided or both are equal, else the traced branch under another name. */
export function chosen(condition: Dim, a: Dim, b: Dim): Dim {
  const branch = condition.n !== 0 ? a : b
  return isInt(condition) || sizeKey(a) === sizeKey(b) ? branch : opaque('where', branch.n, condition, a, b)
}

export type Binary = (a: Dim, b: Dim, dtype: 'int' | 'float') => Dim
export type Unary = (a: Dim) => Dim

const QUOTIENT = /^fdiv\((.+),(\d+)\)$/

/** What arithmetic operators do to the scalars of a shape chain. Booleans are 0 and 1. */
export const BINARY: Readonly<Record<string, Binary>> = {
  Add: (a, b) => {
    if (isInt(b)) return plus(a, b.n)
    return isInt(a) ? plus(b, a.n) : sum(a, b)
  },
  Sub: (a, b) => minus(a, b) ?? opaque('sub', a.n - b.n, a, b),
  Mul: (a, b) => product(a, b),
  Div: (a, b, dtype) => {
    if (dtype === 'int') return isInt(b) && b.n > 0 ? floorDiv(a, b.n) : opaque('div', Math.trunc(a.n / b.n), a, b)
    if (sizeKey(a) === sizeKey(b)) return int(1)
    if (isInt(b) && b.n === 1) return a
    return opaque('fdiv', a.n / b.n, a, b)
  },
  Mod: (a, b) => opaque('mod', b.n === 0 ? 0 : a.n - Math.floor(a.n / b.n) * b.n, a, b),
  Pow: (a, b) => (isInt(b) && b.n === 2 ? product(a, a) : isInt(b) && b.n === 1 ? a : opaque('pow', a.n ** b.n, a, b)),
  Min: (a, b) => (sizeKey(a) === sizeKey(b) ? a : opaque('min', Math.min(a.n, b.n), a, b)),
  Max: (a, b) => (sizeKey(a) === sizeKey(b) ? a : opaque('max', Math.max(a.n, b.n), a, b)),
  Equal: (a, b) => compared('eq', a.n === b.n, a, b),
  Less: (a, b) => compared('lt', a.n < b.n, a, b),
  LessOrEqual: (a, b) => compared('le', a.n <= b.n, a, b),
  Greater: (a, b) => compared('gt', a.n > b.n, a, b),
  GreaterOrEqual: (a, b) => compared('ge', a.n >= b.n, a, b),
  And: (a, b) => (isFalse(a) || isFalse(b) ? int(0) : opaque('and', a.n !== 0 && b.n !== 0 ? 1 : 0, a, b)),
  Or: (a, b) => (isTrue(a) || isTrue(b) ? int(1) : opaque('or', a.n !== 0 || b.n !== 0 ? 1 : 0, a, b)),
  Xor: (a, b) => opaque('xor', (a.n !== 0) !== (b.n !== 0) ? 1 : 0, a, b),
}

/** `floor` of a float quotient is the integer division that TorchScript spells with casts. */
function floorOf(a: Dim): Dim {
  if (Number.isInteger(a.n) && !(a.atoms.length === 1 && a.atoms[0]?.kind === 'sym' && QUOTIENT.test(a.atoms[0].id))) {
    return a
  }
  const only = a.atoms.length === 1 ? a.atoms[0] : undefined
  const match = only?.kind === 'sym' ? QUOTIENT.exec(only.id) : null
  if (match !== null) {
    const by = Number(match[2])
    return sym(`(${match[1]}/${by})`, Math.floor(a.n), roots(a))
  }
  return opaque('floor', Math.floor(a.n), a)
}

export const UNARY: Readonly<Record<string, Unary>> = {
  Neg: (a) => product(a, int(-1)),
  Abs: (a) => (a.n >= 0 ? a : product(a, int(-1))),
  Floor: floorOf,
  Ceil: (a) => (Number.isInteger(a.n) && isInt(a) ? a : opaque('ceil', Math.ceil(a.n), a)),
  Round: (a) => (Number.isInteger(a.n) ? a : opaque('round', Math.round(a.n), a)),
  Sqrt: (a) => opaque('sqrt', Math.sqrt(a.n), a),
  Not: (a) => opaque('not', a.n === 0 ? 1 : 0, a),
  IsNaN: (a) => int(Number.isNaN(a.n) ? 1 : 0),
  IsInf: (a) => int(Math.abs(a.n) === Number.POSITIVE_INFINITY ? 1 : 0),
  Sign: (a) => int(Math.sign(a.n)),
  Reciprocal: (a) => opaque('fdiv', 1 / a.n, int(1), a),
  Identity: (a) => a,
}

/** What a Cast does: to an integer type it truncates, to bool it tests, to a float type it changes nothing. */
export function castScalar(a: Dim, to: 'int' | 'float' | 'bool'): Dim {
  if (to === 'bool') return isInt(a) ? int(a.n !== 0 ? 1 : 0) : isBoolean(a) ? a : opaque('bool', a.n !== 0 ? 1 : 0, a)
  return to === 'int' ? floorOf(a) : a
}

/** True for what a comparison gave: casting it to bool changes nothing. */
function isBoolean(a: Dim): boolean {
  const only = a.atoms.length === 1 ? a.atoms[0] : undefined
  return only?.kind === 'sym' && /^(eq|lt|le|gt|ge|and|or|xor|not|bool)\(/.test(only.id)
}

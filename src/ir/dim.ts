/**
 * Symbolic dimensions. A `Dim` is an ordered product of atoms, outermost first, as a row-major Reshape merges axes:
 * `[batch, heads(12)]` is the axis that runs over the batch and, inside it, over the heads. Each atom carries the size
 * that it has in one trace, so that a split or a merge of axes can be resolved by counting.
 */
export type Atom =
  | { readonly kind: 'int'; readonly n: number }
  /** A size that is known by name only: `batch`, `height`, `(height/16)`. `roots` are the input axes that it is computed from. */
  | { readonly kind: 'sym'; readonly id: string; readonly roots: readonly string[]; readonly n: number }
  /** Axes laid end to end: prefix tokens and then patches. */
  | { readonly kind: 'sum'; readonly terms: readonly Dim[]; readonly n: number }
  /** A number in the file that may spell out a traced size. What it meets decides; unbound, it is that number. */
  | { readonly kind: 'var'; readonly cell: VarCell; readonly n: number }

/** What a `var` atom has been found to be. */
export interface VarCell {
  readonly id: number
  bound: Dim | null
}

export interface Dim {
  readonly atoms: readonly Atom[]
  /** Its size in the trace. Integral for axes; scalars of shape arithmetic may be fractions. */
  readonly n: number
}

export function int(n: number): Dim {
  return { atoms: n === 1 ? [] : [{ kind: 'int', n }], n }
}

/** A named size; one that is computed from others names them, or the axes they come from, in `roots`. */
export function sym(id: string, n: number, roots: Iterable<string> = [id]): Dim {
  return { atoms: [{ kind: 'sym', id, roots: [...roots], n }], n }
}

let nextVar = 0

/** A number that may turn out to be a traced size. */
export function variable(n: number): Dim {
  nextVar += 1
  return { atoms: [{ kind: 'var', cell: { id: nextVar, bound: null }, n }], n }
}

function fromAtoms(atoms: readonly Atom[]): Dim {
  const merged: Atom[] = []
  for (const atom of atoms) {
    const last = merged.at(-1)
    if (atom.kind === 'int' && atom.n === 1) continue
    if (atom.kind === 'int' && last?.kind === 'int') merged[merged.length - 1] = { kind: 'int', n: last.n * atom.n }
    else merged.push(atom)
  }
  if (merged.some((atom) => atom.kind === 'int' && atom.n === 0)) return int(0)
  return { atoms: merged, n: merged.reduce((product, atom) => product * atom.n, 1) }
}

/** The axis that a Reshape makes of consecutive axes. */
export function product(...dims: readonly Dim[]): Dim {
  return fromAtoms(dims.flatMap((dim) => resolve(dim).atoms))
}

/** The axis that a Concat makes of axes laid end to end. */
export function sum(...dims: readonly Dim[]): Dim {
  const terms: Dim[] = []
  for (const dim of dims.map(resolve)) {
    const only = dim.atoms.length === 1 ? dim.atoms[0] : undefined
    for (const term of only?.kind === 'sum' ? only.terms : [dim]) {
      const last = terms.at(-1)
      if (isInt(term) && term.n === 0) continue
      if (isInt(term) && last !== undefined && isInt(last)) terms[terms.length - 1] = int(last.n + term.n)
      else terms.push(term)
    }
  }
  const kept = terms.filter((term) => !(isInt(term) && term.n === 0))
  if (kept.length === 0) return int(0)
  const [first] = kept
  if (kept.length === 1 && first !== undefined) return first
  const n = kept.reduce((total, term) => total + term.n, 0)
  return { atoms: [{ kind: 'sum', terms: kept, n }], n }
}

/** Dims found to be without variables, with their layout's text and their roots: inference asks for these again and again. */
const SETTLED = new WeakMap<Dim, { key: string | null; roots: ReadonlySet<string> | null }>()

/** True for a dim without variables: nothing can be bound in it. */
export function isSettled(dim: Dim): boolean {
  if (SETTLED.has(dim)) return true
  const settled = dim.atoms.every((atom) => atom.kind !== 'var' && (atom.kind !== 'sum' || atom.terms.every(isSettled)))
  if (settled) SETTLED.set(dim, { key: null, roots: null })
  return settled
}

/** The dim with every bound variable replaced by what it stands for; unbound ones stay. */
export function resolve(dim: Dim): Dim {
  if (isSettled(dim)) return dim
  return fromAtoms(
    dim.atoms.flatMap((atom): readonly Atom[] => {
      if (atom.kind === 'var') return atom.cell.bound === null ? [atom] : resolve(atom.cell.bound).atoms
      if (atom.kind === 'sum' && atom.terms.some(hasBound)) return sum(...atom.terms.map(resolve)).atoms
      return [atom]
    }),
  )
}

function hasBound(dim: Dim): boolean {
  return dim.atoms.some(
    (a) => (a.kind === 'var' && a.cell.bound !== null) || (a.kind === 'sum' && a.terms.some(hasBound)),
  )
}

/** True for a plain number: no named size in it, unbound variables counting as numbers. */
export function isInt(dim: Dim): boolean {
  return dim.atoms.every((atom) => atom.kind === 'int' || (atom.kind === 'var' && atom.cell.bound === null))
}

/** The cell of a dim that is one variable, not bound yet; null for any other dim. */
export function unboundVar(dim: Dim): VarCell | null {
  const [only, ...rest] = resolve(dim).atoms
  return rest.length === 0 && only?.kind === 'var' && only.cell.bound === null ? only.cell : null
}

/** Fixes every unbound variable of a dim as the number that the file says. */
export function settle(dim: Dim): void {
  for (const atom of resolve(dim).atoms) {
    if (atom.kind === 'var') atom.cell.bound = int(atom.n)
    else if (atom.kind === 'sum') for (const term of atom.terms) settle(term)
  }
}

/** The terms of a sum; a dim that is no sum is its own only term. */
export function terms(dim: Dim): readonly Dim[] {
  const resolved = resolve(dim)
  const [only, ...rest] = resolved.atoms
  return rest.length === 0 && only?.kind === 'sum' ? only.terms : [resolved]
}

function atomKey(atom: Atom, ordered: boolean): string {
  switch (atom.kind) {
    case 'int':
      return String(atom.n)
    case 'sym':
      return atom.id
    case 'var':
      return String(atom.n)
    case 'sum': {
      const parts = atom.terms.map((term) => keyOf(term, ordered))
      return `(${(ordered ? parts : parts.sort()).join('+')})`
    }
  }
}

function keyOf(dim: Dim, ordered: boolean): string {
  const parts = resolve(dim).atoms.map((atom) => atomKey(atom, ordered))
  if (parts.length === 0) return '1'
  return (ordered ? parts : parts.sort()).join('*')
}

/** Text that is equal for equal layouts: `batch*12`, `(1+(height/16)*(width/16))`. */
export function layoutKey(dim: Dim): string {
  const known = isSettled(dim) ? SETTLED.get(dim) : undefined
  if (known === undefined) return keyOf(dim, true)
  known.key ??= keyOf(dim, true)
  return known.key
}

/** Text that is equal for equal sizes, whatever the order of the factors. */
export function sizeKey(dim: Dim): string {
  return keyOf(dim, false)
}

/** Names of the symbols in it, sums included. */
export function symbols(dim: Dim): Set<string> {
  return collect(dim, (atom) => [atom.id])
}

/** Names of the input axes on which it depends: `batch`, `height`, `width`. */
export function roots(...dims: readonly Dim[]): ReadonlySet<string> {
  const [only] = dims
  return dims.length === 1 && only !== undefined ? rootsOf(only) : new Set(dims.flatMap((dim) => [...rootsOf(dim)]))
}

function rootsOf(dim: Dim): ReadonlySet<string> {
  const known = isSettled(dim) ? SETTLED.get(dim) : undefined
  if (known === undefined) return collect(dim, (atom) => atom.roots)
  known.roots ??= collect(dim, (atom) => atom.roots)
  return known.roots
}

function collect(dim: Dim, names: (atom: Extract<Atom, { kind: 'sym' }>) => readonly string[]): Set<string> {
  const found = new Set<string>()
  for (const atom of resolve(dim).atoms) {
    if (atom.kind === 'sym') for (const name of names(atom)) found.add(name)
    else if (atom.kind === 'sum')
      for (const term of atom.terms) for (const name of collect(term, names)) found.add(name)
  }
  return found
}

/** `a - b` as a size; undefined where the difference has no simple form. */
export function minus(a: Dim, b: Dim): Dim | undefined {
  if (sizeKey(a) === sizeKey(b)) return int(0)
  const left = [...terms(a)]
  let constant = 0
  for (const term of terms(b)) {
    if (isInt(term)) {
      constant -= term.n
      continue
    }
    const at = left.findIndex((other) => sizeKey(other) === sizeKey(term))
    if (at < 0) return undefined
    left.splice(at, 1)
  }
  return plus(left.length === 0 ? int(0) : sum(...left), constant)
}

/** The size with a number added to its constant term. */
export function plus(dim: Dim, add: number): Dim {
  if (add === 0) return dim
  const all = [...terms(dim)]
  const at = all.findIndex(isInt)
  if (at < 0) return sum(...(add > 0 ? [int(add), ...all] : [...all, int(add)]))
  all[at] = int((all[at]?.n ?? 0) + add)
  return sum(...all)
}

/** `floor(dim / by)` for a positive integer; sums give up their multiples, products their factors. */
export function floorDiv(dim: Dim, by: number): Dim {
  const resolved = resolve(dim)
  if (by === 1) return resolved
  if (isInt(resolved)) return int(Math.floor(resolved.n / by))
  const factor = resolved.atoms.findIndex((atom) => atom.kind === 'int' && atom.n % by === 0)
  if (factor >= 0) {
    const atoms = resolved.atoms.map((atom, i) => (i === factor ? { kind: 'int' as const, n: atom.n / by } : atom))
    return fromAtoms(atoms)
  }
  const all = terms(resolved)
  const whole = all.find((term) => isInt(term) && term.n % by === 0)
  if (all.length > 1 && whole !== undefined) {
    return plus(floorDiv(sum(...all.filter((term) => term !== whole)), by), whole.n / by)
  }
  return sym(`(${sizeKey(resolved)}/${by})`, Math.floor(resolved.n / by), roots(resolved))
}

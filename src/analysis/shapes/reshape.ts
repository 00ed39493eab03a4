import { type Atom, type Dim, floorDiv, int, product } from '../../ir/dim.ts'

/**
 * The output axes of a Reshape, from its input's axes and the output's sizes in this trace. Row-major order decides:
 * consecutive atoms are merged until their sizes multiply to the target's; integer atoms may be divided, and a symbolic
 * axis by an integer only where the target itself names the two parts (height into patch rows and pixels).
 * Null where a symbolic size would have to be split otherwise.
 */
export function reshapeDims(from: readonly Dim[], to: readonly number[]): Dim[] | null {
  const queue = from.flatMap((dim) => dim.atoms)
  const result: Dim[] = []
  for (const [index, target] of to.entries()) {
    const taken: Dim[] = []
    let size = 1
    // A target of 1 takes a symbolic size that happens to be 1 in this trace, but no more than one.
    if (target === 1 && queue[0] !== undefined && queue[0].n === 1) taken.push(one(queue.shift() as Atom))
    while (size < target) {
      const next = queue.shift()
      if (next === undefined) return null
      const missing = target / size
      if (next.n <= missing) {
        taken.push(one(next))
        size *= next.n
        continue
      }
      const parts = split(next, missing, to.slice(index + 1))
      if (parts === null) return null
      taken.push(parts[0])
      queue.unshift(...parts[1].atoms)
      size *= missing
    }
    if (size !== target) return null
    result.push(product(...taken))
  }
  const last = result.length - 1
  const rest = queue.map(one)
  if (rest.some((dim) => dim.n !== 1)) return null
  if (rest.length > 0 && last >= 0) result[last] = product(result[last] ?? int(1), ...rest)
  return result
}

function one(atom: Atom): Dim {
  return { atoms: [atom], n: atom.n }
}

/** Divides an atom into an outer part of `outer` and the rest. */
function split(atom: Atom, outer: number, following: readonly number[]): [Dim, Dim] | null {
  const inner = atom.n / outer
  if (!Number.isInteger(outer) || !Number.isInteger(inner)) return null
  if (atom.kind === 'int' || (atom.kind === 'var' && atom.cell.bound === null)) return [int(outer), int(inner)]
  if (atom.kind === 'sym' && following[0] === inner) return [floorDiv(one(atom), inner), int(inner)]
  return null
}

import { type Atom, type Dim, floorDiv, int, product } from '../../ir/dim.ts'

/**
 * The output axes of a Reshape, from its input's axes and the output's sizes in this trace. Row-major order decides:
 * consecutive atoms are merged until their sizes multiply to the target's; integer atoms may be divided, and a symbolic
 * axis by an integer only where the target itself names the two parts (height into patch rows and pixels).
 * Null where a symbolic size would have to be split otherwise.
 */
export function reshapeDims(from: readonly Dim[], to: readonly number[]): Dim[] | null {
  const queue: Part[] = from.flatMap((dim, axis) => dim.atoms.map((atom) => ({ atom, axis })))
  const result: Dim[] = []
  for (const [index, target] of to.entries()) {
    const taken = take(queue, target, to.slice(index + 1))
    if (taken === null) return null
    result.push(product(...taken))
  }
  const last = result.length - 1
  const rest = queue.map(({ atom }) => one(atom))
  if (rest.some((dim) => dim.n !== 1)) return null
  if (rest.length > 0 && last >= 0) result[last] = product(result[last] ?? int(1), ...rest)
  return result
}

/** A factor of the input, and the axis that it comes from. */
interface Part {
  readonly atom: Atom
  readonly axis: number
}

/** Takes the factors of one output axis off the front of the queue; null where they do not multiply to its size. */
function take(queue: Part[], target: number, following: readonly number[]): Dim[] | null {
  const taken: Dim[] = []
  let size = 1
  let axis = -1
  const next = (): Part | undefined => {
    const part = queue.shift()
    axis = part?.axis ?? axis
    return part
  }
  // A target of 1 takes a symbolic size that happens to be 1 in this trace, but no more than one.
  if (target === 1 && queue[0]?.atom.n === 1) taken.push(one((next() as Part).atom))
  while (size < target) {
    const part = next()
    if (part === undefined) return null
    const missing = target / size
    if (part.atom.n <= missing) {
      taken.push(one(part.atom))
      size *= part.atom.n
      continue
    }
    const parts = split(part.atom, missing, following)
    if (parts === null) return null
    taken.push(parts[0])
    queue.unshift(...parts[1].atoms.map((atom) => ({ atom, axis: part.axis })))
    size *= missing
  }
  if (size !== target) return null
  // Factors of 1 that end an input axis stay with what came before them in it, unless the output has an axis of 1 for them.
  const ends = queue.every((part) => part.axis !== axis || part.atom.n === 1)
  while (ends && target !== 1 && following[0] !== 1 && queue[0]?.axis === axis) taken.push(one((next() as Part).atom))
  return taken
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

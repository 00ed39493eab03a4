import { type Atom, type Dim, floorDiv, int, isInt, layoutKey, product } from '../../ir/dim.ts'

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

/** Text that tells one layout of a tensor from another. */
export function placementKey(dims: readonly Dim[]): string {
  return dims.map(layoutKey).join()
}

/** Where the batch stands among the axes of a tensor: elements of all that lies outside it. Null where it is not there just once. */
export function elementsOutsideBatch(dims: readonly Dim[]): number | null {
  let outside: number | null = null
  let before = 1
  for (const dim of dims) {
    for (const atom of dim.atoms) {
      if (isBatch(atom)) {
        if (outside !== null) return null
        outside = before
      }
      before *= atom.n
    }
  }
  return outside
}

/**
 * The layouts that the result of a Reshape may have where the batch is one image: an axis of one element may stand anywhere, and
 * exporters and optimisers write a transposition of it as a Reshape. Layouts in reading order come first, `inOrder` before all; then those
 * to which the batch has to be moved, where it would be an axis of its own or the outer part of one. One layout or none where
 * there is no choice.
 */
export function batchPlacements(
  from: readonly Dim[],
  to: readonly number[],
  inOrder: readonly Dim[] | null,
): readonly (readonly Dim[])[] {
  const only = inOrder === null ? [] : [inOrder]
  const outside = elementsOutsideBatch(from)
  const batch = from.flatMap((dim) => dim.atoms).find(isBatch)
  if (outside === null || batch === undefined || batch.n !== 1) return only
  const others = reshapeDims(
    from.map((dim) => product(...dim.atoms.filter((atom) => !isBatch(atom)).map(one))),
    to,
  )
  if (others === null) return only
  const ordered: (readonly Dim[])[] = [...only]
  const moved: (readonly Dim[])[] = []
  const movable = boundaryAt(others, outside) !== null
  let before = 1
  for (const [axis, dim] of others.entries()) {
    const insert = (...parts: readonly Dim[]) => others.map((other, i) => (i === axis ? product(...parts) : other))
    const outer = dim.n === 1 && isInt(dim) ? insert(one(batch)) : insert(one(batch), dim)
    if (before === outside) ordered.push(outer)
    else if (movable) moved.push(outer)
    before *= dim.n
    if (before === outside && dim.n !== 1) ordered.push(insert(dim, one(batch)))
  }
  const alone = (dims: readonly Dim[]) => dims.some((dim) => layoutKey(dim) === layoutKey(one(batch)))
  moved.sort((a, b) => Number(alone(b)) - Number(alone(a)))
  const seen = new Set<string>()
  return [...ordered, ...moved].filter((dims) => {
    const key = placementKey(dims)
    return !seen.has(key) && seen.add(key) !== undefined
  })
}

/** How many leading axes hold that many elements; null where the number falls inside an axis. */
export function boundaryAt(dims: readonly Dim[], elements: number): number | null {
  let before = 1
  for (const [axis, dim] of dims.entries()) {
    if (before === elements) return axis
    before *= dim.n
  }
  return before === elements ? dims.length : null
}

function isBatch(atom: Atom): boolean {
  return atom.kind === 'sym' && atom.id === 'batch'
}

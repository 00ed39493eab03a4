import { type Dim, isInt, layoutKey } from '../ir/dim.ts'

/** One entry of a Reshape's target: a number (0 copies the input's axis, -1 is inferred) or a size to be computed. */
export type TargetEntry = number | Dim

/**
 * The target of a Reshape from one shape to another, as the data alone determine it: axes that stay in place are copied, one
 * other symbolic axis is inferred, and numbers stay. More than one axis that is neither is left as a size to be computed.
 */
export function reshapeTarget(from: readonly Dim[], to: readonly Dim[]): TargetEntry[] {
  const entries = to.map((dim, i): TargetEntry => {
    const source = from[i]
    if (source !== undefined && layoutKey(source) === layoutKey(dim) && !isInt(dim)) return 0
    return isInt(dim) ? dim.n : dim
  })
  const open = entries.flatMap((entry, i) => (typeof entry === 'number' ? [] : [i]))
  const [last] = open.slice(-1)
  if (last !== undefined) entries[last] = -1
  return entries
}

/** True where every entry is a number, so that the target is a constant of the file. */
export function isConstantTarget(entries: readonly TargetEntry[]): entries is number[] {
  return entries.every((entry) => typeof entry === 'number')
}

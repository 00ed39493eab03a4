import type { Trace } from '../analysis/trace.ts'
import { type Atom, type Dim, isInt, layoutKey, resolve, terms } from '../ir/dim.ts'
import type { Value } from '../ir/value.ts'
import type { Builder } from '../ops/builder.ts'

/** One entry of a shape that the graph is to compute: a number, or a size. */
export type SizeEntry = number | Dim

/**
 * Writes sizes back as graph: `batch`, `height` and `width` are read off the pixel input, the patch grid off the patch
 * embedding's output. Every size is computed once.
 */
export class SizeEmitter {
  private readonly builder: Builder
  private readonly trace: Trace
  private readonly known = new Map<string, Value>()

  constructor(builder: Builder, trace: Trace) {
    this.builder = builder
    this.trace = trace
  }

  /** True where the size is a sum of products of numbers, batch, height, width and the patch grid. */
  canEmit(dim: Dim): boolean {
    return terms(dim).every((term) =>
      resolve(term).atoms.every((atom) => isNumber(atom) || this.anchor(atom) !== null || this.isSum(atom)),
    )
  }

  /** An int64 tensor [1] that holds the size. */
  emit(dim: Dim): Value {
    const key = layoutKey(dim)
    const seen = this.known.get(key)
    if (seen !== undefined) return seen
    const { builder } = this
    const parts = terms(dim).map((term) => {
      const factors = resolve(term).atoms.map((atom) => this.emitAtom(atom))
      return factors.length === 0 ? builder.int64([1]) : factors.reduce((a, b) => builder.mul(a, b))
    })
    const value = parts.reduce((a, b) => builder.add(a, b))
    this.known.set(key, value)
    return value
  }

  /** An int64 vector of sizes and numbers. */
  vector(entries: readonly SizeEntry[]): Value {
    const { builder } = this
    if (entries.every((entry) => typeof entry === 'number' || isInt(entry))) {
      return builder.int64(entries.map((entry) => (typeof entry === 'number' ? entry : entry.n)))
    }
    return builder.concat(
      entries.map((entry) => (typeof entry === 'number' ? builder.int64([entry]) : this.emit(entry))),
      { axis: 0 },
    )
  }

  private isSum(atom: Atom): boolean {
    return atom.kind === 'sum' && atom.terms.every((term) => this.canEmit(term))
  }

  private emitAtom(atom: Atom): Value {
    if (isNumber(atom)) return this.builder.int64([atom.n])
    if (atom.kind === 'sum') return this.emit({ atoms: [atom], n: atom.n })
    const anchor = this.anchor(atom)
    if (anchor === null)
      throw new RangeError(`size ${layoutKey({ atoms: [atom], n: atom.n })} cannot be computed in the graph`)
    const [tensor, axis] = anchor
    const shape = this.builder.shape(tensor)
    return this.builder.gather(shape, this.builder.int64([axis]), { axis: 0 })
  }

  /** The tensor and axis whose length the atom is. */
  private anchor(atom: Atom): readonly [Value, number] | null {
    if (atom.kind !== 'sym') return null
    const { patch, rows, cols } = this.trace
    const axis = ['batch', '', 'height', 'width'].indexOf(atom.id)
    if (axis >= 0) return [patch.pixels, axis]
    const grid = patch.conv.output(0)
    const at = [rows, cols].findIndex((dim) => layoutKey(dim) === atom.id)
    return at < 0 || grid === null ? null : [grid, at + 2]
  }
}

/** True for a plain number, one that might have turned out to be a size among them. */
function isNumber(atom: Atom): boolean {
  return isInt({ atoms: [atom], n: atom.n })
}

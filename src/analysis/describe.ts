import { type Dim, layoutKey, resolve } from '../ir/dim.ts'

/** A dim for a message: `1+(height/16)*(width/16)`, with its size in the trace where it is not a plain number. */
export function dimSummary(dim: Dim): string {
  const key = layoutKey(resolve(dim)).replace(/^\((.*)\)$/, (whole, inner: string) => (balanced(inner) ? inner : whole))
  return /^-?\d+$/.test(key) ? key : `${key} (${dim.n} here)`
}

function balanced(text: string): boolean {
  let depth = 0
  for (const c of text) {
    if (c === '(') depth += 1
    if (c === ')') depth -= 1
    if (depth < 0) return false
  }
  return depth === 0
}

/** A shape for a message: `[batch, 12, 1+(height/16)*(width/16), 64]`. */
export function shapeSummary(dims: readonly Dim[] | null): string {
  return dims === null ? '[?]' : `[${dims.map((dim) => layoutKey(resolve(dim))).join(', ')}]`
}

import { isTokenRow } from '../analysis/grid.ts'
import type { RangeSite } from '../analysis/token-sites.ts'
import type { Trace } from '../analysis/trace.ts'
import { type Dim, isInt, layoutKey, resolve } from '../ir/dim.ts'
import { isFloat } from '../ir/dtype.ts'
import type { Value } from '../ir/value.ts'
import type { Builder } from '../ops/builder.ts'
import { canSelect, type Validity, type ValidityOptions } from './validity.ts'

/** How the elements that belong to images are told apart in a tensor: see `layoutOf`. */
type Layout =
  | { readonly kind: 'select' }
  | { readonly kind: 'pixels' }
  | { readonly kind: 'tokens first'; readonly tokens: Dim }
  | { readonly kind: 'merged'; readonly tokens: Dim; readonly tokensFirst: boolean }

/**
 * Axes of which it can be said what is padding: what `Validity.select` knows, an image, [tokens, batch, ...] and a first axis that merges
 * batch and tokens; null for others.
 */
function layoutOf(dims: readonly Dim[], trace: Trace): Layout | null {
  if (dims.length === 4 && layoutKey(dims[2] as Dim) === 'height' && layoutKey(dims[3] as Dim) === 'width') {
    return layoutKey(dims[0] as Dim) === 'batch' ? { kind: 'pixels' } : null
  }
  if (canSelect(dims, trace)) return { kind: 'select' }
  const [first, second, ...rest] = dims
  if (first === undefined) return null
  if (second !== undefined && layoutKey(second) === 'batch' && isTokenRow(first, trace) && rest.every(isInt)) {
    return { kind: 'tokens first', tokens: first }
  }
  const { atoms } = resolve(first)
  const at = atoms.findIndex((atom) => atom.kind === 'sym' && atom.id === 'batch')
  const others = atoms.filter((_, i) => i !== at)
  const tokens: Dim = { atoms: others, n: others.reduce((n, atom) => n * atom.n, 1) }
  const isEnd = at === 0 || (at > 0 && at === atoms.length - 1)
  if (!isEnd || !isTokenRow(tokens, trace) || !dims.slice(1).every(isInt)) return null
  return { kind: 'merged', tokens, tokensFirst: at > 0 }
}

/**
 * What becomes of a dynamic quantisation: `masked`; `clean` where its padding is 0 anyway, as in an image; `open` where it cannot be told.
 */
export function rangeFate(
  { node, dims }: RangeSite,
  trace: Trace,
  options: ValidityOptions,
): 'masked' | 'clean' | 'open' {
  const dtype = trace.facts.dtype(node.input(0))
  const layout = layoutOf(dims, trace)
  if (dtype === undefined || !isFloat(dtype) || layout === null) return 'open'
  if (layout.kind !== 'pixels' || options.source === 'sizes') return 'masked'
  return options.padValue === 0 ? 'clean' : 'open'
}

/** Lets a dynamic quantisation read 0 at padding: its range includes 0 always, so that padding does not widen it. */
export function maskRange({ node, dims }: RangeSite, trace: Trace, validity: Validity, builder: Builder): void {
  const source = node.input(0)
  const dtype = trace.facts.dtype(source)
  const layout = layoutOf(dims, trace)
  if (source === null || dtype === undefined || !isFloat(dtype) || layout === null) return
  node.setInput(0, builder.where(seen(layout, dims, trace, validity, builder), source, builder.float(0, dtype)))
}

function seen(layout: Layout, dims: readonly Dim[], trace: Trace, validity: Validity, builder: Builder): Value {
  if (layout.kind === 'select') return validity.select(dims)
  if (layout.kind === 'pixels') return validity.pixels
  const batch = trace.facts.dims(trace.patch.pixels)?.[0] as Dim
  const rows = validity.select([batch, layout.tokens])
  const tokensFirst = layout.kind === 'tokens first' || layout.tokensFirst
  const turned = tokensFirst ? builder.transpose(rows, { perm: [1, 0] }) : rows
  const placed = layout.kind === 'merged' ? builder.reshape(turned, builder.int64([-1])) : turned
  const rank = layout.kind === 'merged' ? 1 : 2
  const free = Array.from({ length: dims.length - rank }, (_, i) => rank + i)
  return free.length === 0 ? placed : builder.unsqueeze(placed, { axes: free })
}

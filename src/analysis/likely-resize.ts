import { isInt, layoutKey, terms } from '../ir/dim.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { dependsOnSize } from './grid.ts'
import type { PositionTable } from './positions.ts'
import { isProduct, productOperands } from './products.ts'
import type { ResizeKind } from './resize-kind.ts'
import type { TokenFlow } from './token-sites.ts'
import type { Trace } from './trace.ts'

/** A guess at how a library resizes its table, and what it rests on. */
export interface LikelyResize {
  readonly kind: ResizeKind
  readonly because: string
}

/**
 * How a table that is baked in at one size is probably resized, told from how libraries build their models: timm projects query, key
 * and value in one product and resizes with antialias, as do models that put register tokens in behind the positions (DINOv2 with
 * registers); torchvision uses torch's own attention module and lays corners on corners; others, as those of transformers, resize by
 * plain bicubic interpolation.
 */
export function likelyResize(table: PositionTable, flow: TokenFlow, trace: Trace): LikelyResize {
  const { prefix, suffix } = table.operand
  const positioned = prefix + suffix
  if (mostAround(flow, trace) > positioned && positioned > 0) {
    return { kind: 'aa-cubic', because: 'tokens are inserted behind the positions, as models with registers do' }
  }
  const projection = projectionOf(flow, trace)
  if (projection === 'joint') {
    return { kind: 'aa-cubic', because: 'query, key and value are projected in one product, as timm does' }
  }
  if (projection === 'sequence first') {
    return { kind: 'cubic-corners', because: "attention is torch's own module, as torchvision builds and resizes it" }
  }
  return { kind: 'cubic', because: 'query, key and value are projected apart, as transformers does' }
}

/**
 * True for a table each of whose channels follows the row alone or the column alone: sines and cosines that were computed, which no
 * training leaves. A library may compute them anew for another size, or resize them as any table.
 */
export function isComputedTable({ table: { dims, data } }: PositionTable): boolean {
  const [rows = 0, cols = 0, hidden = 0] = dims
  if (rows < 2 || cols < 2) return false
  const at = (row: number, col: number, channel: number) => data[(row * cols + col) * hidden + channel] ?? 0
  const near = (a: number, b: number) => Math.abs(a - b) < 1e-5
  for (let channel = 0; channel < hidden; channel += 1) {
    let byRow = true
    let byCol = true
    for (let row = 0; row < rows && (byRow || byCol); row += 1) {
      for (let col = 0; col < cols; col += 1) {
        byRow &&= near(at(row, col, channel), at(row, 0, channel))
        byCol &&= near(at(row, col, channel), at(0, col, channel))
      }
    }
    if (!byRow && !byCol) return false
  }
  return true
}

/** Tokens around the patches where there are most. */
function mostAround({ softmaxes }: TokenFlow, trace: Trace): number {
  const counts = softmaxes.flatMap(({ dims, axis }) => {
    const key = dims[axis]
    if (key === undefined || !dependsOnSize(key)) return []
    return [terms(key).reduce((n, term) => n + (isInt(term) ? term.n : 0), 0)]
  })
  const patches = trace.sizes.rows * trace.sizes.cols
  return Math.max(0, ...counts.filter((count) => count < patches + 64))
}

/** Operators between a projection and the scores. */
const BETWEEN = new Set([
  ...['Transpose', 'Reshape', 'Split', 'Slice', 'Gather', 'Squeeze', 'Unsqueeze', 'Identity', 'Cast'],
  ...['Mul', 'Div', 'Add', 'Concat', 'LayerNormalization', 'RMSNormalization', 'Flatten'],
  ...['QuantizeLinear', 'DequantizeLinear', 'DynamicQuantizeLinear'],
])

/** Whether queries and keys of self-attention come from one matrix product, and whether that takes the sequence first. */
function projectionOf({ softmaxes, live }: TokenFlow, trace: Trace): 'joint' | 'sequence first' | 'apart' {
  for (const { node } of softmaxes) {
    const product = productOf(node.input(0), live)
    if (product === null) continue
    const [queries, keys] = (productOperands(product) ?? [])
      .map(({ value }) => value)
      .map((value) => projections(value, live))
    const shared = [...(queries ?? [])].filter((one) => keys?.has(one) === true)
    if (shared.length === 0) return 'apart'
    return shared.some((one) => startsWithTokens(one, trace)) ? 'sequence first' : 'joint'
  }
  return 'apart'
}

function startsWithTokens(node: Node, { facts }: Trace): boolean {
  const [first] = facts.dims(node.input(0)) ?? []
  if (first === undefined) return false
  return dependsOnSize(first) && !layoutKey(first).startsWith('batch')
}

function productOf(scores: Value | null, live: ReadonlySet<Value>): Node | null {
  for (let value = scores; value !== null; ) {
    const node: Node | null = value.producer
    if (node === null) return null
    if (isProduct(node)) return node
    if (node.domain !== '' || !BETWEEN.has(node.opType)) return null
    value = node.inputs.find((input) => input !== null && live.has(input)) ?? null
  }
  return null
}

/** The nearest matrix products behind a value. */
function projections(value: Value | null, live: ReadonlySet<Value>): Set<Node> {
  const found = new Set<Node>()
  const seen = new Set<Value>()
  const pending = value === null ? [] : [value]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const node = next.producer
    if (node === null || seen.has(next)) continue
    seen.add(next)
    // A bias of its own behind a Split: an optimiser put three projections into one product.
    if (
      node.is('Add') &&
      node.inputs.some((input) => input !== null && live.has(input) && input.producer?.is('Split'))
    ) {
      found.add(node)
      continue
    }
    if (isProduct(node)) found.add(node)
    else if (node.domain === '' && BETWEEN.has(node.opType)) {
      for (const input of node.inputs) if (input !== null && live.has(input)) pending.push(input)
    }
  }
  return found
}

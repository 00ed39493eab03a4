import { VitpassError } from '../errors.ts'
import { type Dim, isInt, layoutKey, resolve, terms } from '../ir/dim.ts'
import type { DType } from '../ir/dtype.ts'
import type { Model } from '../ir/model.ts'
import type { Node } from '../ir/node.ts'
import type { DeclaredDim, Value } from '../ir/value.ts'
import { dependents } from './dependence.ts'
import { shapeSummary } from './describe.ts'
import { dependsOnSize, gridAxes, isPatchRow, isTokenRow } from './grid.ts'
import { countNorms } from './norms.ts'
import { otherInputs } from './other-inputs.ts'
import { PositionReader, type Positions, positionSites } from './position-reader.ts'
import { followTokens } from './token-flow.ts'
import type { PoolingKind, SoftmaxSite, TokenFlow } from './token-sites.ts'
import { type Trace, trace } from './trace.ts'

/** What an output holds. */
export type OutputRole = 'tokens' | 'feature map' | 'attention weights' | 'pooled' | 'scores' | 'other'

export interface AttentionSummary {
  readonly node: string
  readonly kind: 'self' | 'pooling' | 'other'
  readonly heads: number | null
  /** [batch, heads, query, key] */
  readonly scores: string
}

export interface PositionSummary {
  /** A stored table, rotary positions (computed, and multiplied into queries and keys), or other computed ones. */
  readonly kind: 'table' | 'rotary' | 'computed' | 'unknown'
  /** Node at which they meet the tokens: the first of `sites` alike. */
  readonly node: string
  readonly sites: number
  /** Rows for tokens in front of the patches. */
  readonly prefix: number
  /** Rows for tokens behind them, where there are any. */
  readonly suffix?: number
  readonly native: { readonly rows: number; readonly cols: number } | null
  /** How the graph resizes the table; `baked` where it adds it as it is; null where it could not be read. */
  readonly resize: string | null
  /** How a patch's place becomes the coordinate of computed positions. */
  readonly coordinates?: string
  /** The only grid at which computed positions are right in this file, though it may run at others. */
  readonly rightAt?: { readonly rows: number; readonly cols: number }
  /** Why it could not be read. */
  readonly problem?: string
}

export interface BakedSummary {
  readonly batch: number | null
  readonly height: number | null
  readonly width: number | null
  /** Height and width share one symbol, so that only square images fit. */
  readonly tied: boolean
  /** Sizes are declared free, but a constant for each token fits one grid only. */
  readonly tokens: number | null
}

/** What a vision transformer is made of, as the graph shows it. */
export interface Anatomy {
  readonly input: {
    readonly name: string
    readonly dtype: DType | undefined
    readonly dims: readonly DeclaredDim[]
    readonly channels: number
  }
  readonly patch: { readonly height: number; readonly width: number; readonly node: string }
  readonly hidden: number
  /** Tokens in front of the patches, such as a class token; null where no output or attention shows them. */
  readonly prefix: number | null
  readonly positions: readonly PositionSummary[]
  readonly attention: readonly AttentionSummary[]
  readonly blocks: number
  readonly norms: number
  /** Reductions over tokens, such as mean pooling. */
  readonly poolings: readonly { readonly node: string; readonly kind: PoolingKind }[]
  readonly outputs: readonly {
    readonly name: string
    readonly dtype: DType | undefined
    readonly axes: string
    readonly role: OutputRole
  }[]
  readonly baked: BakedSummary
  /** Places where tokens meet in a way that no mask makes right. */
  readonly problems: readonly { readonly node: string; readonly reason: string }[]
}

/**
 * Reads the anatomy of a vision transformer off its data flow and shapes; names play no part.
 * @throws VitpassError MODEL_UNSUPPORTED when there is no image input, no patch embedding, or no size at which the shapes agree
 */
export function readAnatomy(model: Model): Anatomy {
  const traced = trace(model)
  const { patch, facts } = traced
  const flow = followTokens(model.graph, traced)
  const conv = facts.dims(patch.conv.output(0)) ?? []
  const hidden = conv[1]?.n ?? 0
  const attention = flow.softmaxes.map((site) => summariseAttention(site, traced))
  const live = dependents(model.graph, ...traced.inputs)
  return {
    input: {
      name: patch.pixels.name,
      dtype: patch.pixels.dtype,
      dims: patch.pixels.declaredDims ?? [],
      channels: facts.dims(patch.pixels)?.[1]?.n ?? 0,
    },
    patch: { height: patch.height, width: patch.width, node: patch.conv.label },
    hidden,
    prefix: prefixOf(flow, traced, model.graph.outputs),
    positions: summariseAllPositions(flow, traced),
    attention,
    blocks: attention.filter((site) => site.kind === 'self').length,
    norms: countNorms(model.graph, facts),
    poolings: flow.poolings.map(({ node, kind }) => ({ node: node.label, kind })),
    outputs: model.graph.outputs.map((output) => ({
      name: output.name,
      dtype: facts.dtype(output) ?? output.dtype,
      axes: shapeSummary(facts.dims(output)),
      role: live.has(output) ? roleOf(facts.dims(output), hidden, traced) : 'other',
    })),
    baked: findBaked(traced),
    problems: [...otherInputs(model, patch), ...flow.problems].map(({ node, reason }) => ({
      node: node === undefined ? '' : `${node.opType} ${node.label}`,
      reason,
    })),
  }
}

function summariseAttention({ node, axis, dims }: SoftmaxSite, traced: Trace): AttentionSummary {
  const query = dims[axis - 1]
  const kind =
    query === undefined || axis !== dims.length - 1
      ? 'other'
      : isTokenRow(query, traced) && dependsOnSize(query)
        ? 'self'
        : 'pooling'
  return { node: node.label, kind, heads: headsOf(dims), scores: shapeSummary(dims) }
}

/** Heads of scores [batch, heads, query, key] or [batch * heads, query, key]. */
function headsOf(dims: readonly Dim[]): number | null {
  const leading = dims.slice(0, -2).flatMap((dim) => resolve(dim).atoms)
  const [first, ...rest] = leading
  if (first?.kind !== 'sym' || !rest.every((atom) => isInt({ atoms: [atom], n: atom.n }))) return null
  return rest.reduce((n, atom) => n * atom.n, 1)
}

/** Positions of every layer that are alike count once. */
function summariseAllPositions(flow: TokenFlow, traced: Trace): PositionSummary[] {
  const reader = new PositionReader(flow, traced)
  const alike = new Map<string, PositionSummary>()
  for (const site of positionSites(flow)) {
    const one = summarisePositions(() => reader.read(site), site.node)
    const key = JSON.stringify({ ...one, node: '' })
    const first = alike.get(key)
    alike.set(key, first === undefined ? one : { ...first, sites: first.sites + 1 })
  }
  return [...alike.values()]
}

function summarisePositions(read: () => Positions, node: Node): PositionSummary {
  try {
    const positions = read()
    const common = { node: node.label, sites: 1, prefix: positions.prefix.dims[0] ?? 0 }
    if (positions.kind === 'waves') {
      const { rule, frozen } = positions
      return {
        kind: node.is('Mul') ? 'rotary' : 'computed',
        ...common,
        native: null,
        resize: null,
        coordinates: rule.name,
        ...(frozen === null ? {} : { rightAt: frozen }),
      }
    }
    const { table, resize } = positions
    const [rows = 0, cols = 0] = table.dims
    const offset = resize !== null && resize.offset !== 0 ? ` +${resize.offset}` : ''
    const how = resize === null ? 'baked' : `${resize.kind}${offset}`
    const { suffix } = positions.operand
    return { kind: 'table', ...common, ...(suffix > 0 ? { suffix } : {}), native: { rows, cols }, resize: how }
  } catch (error) {
    if (!(error instanceof VitpassError)) throw error
    return {
      kind: 'unknown',
      node: node.label,
      sites: 1,
      prefix: 0,
      native: null,
      resize: null,
      problem: error.message,
    }
  }
}

function prefixOf(flow: TokenFlow, traced: Trace, outputs: readonly Value[]): number | null {
  const rows = [
    ...flow.softmaxes.map(({ dims, axis }) => dims[axis]),
    ...outputs.flatMap((output) => traced.facts.dims(output) ?? []),
  ]
  for (const dim of rows) {
    if (dim === undefined || !dependsOnSize(dim) || !isTokenRow(dim, traced)) continue
    const parts = terms(dim)
    const at = parts.findIndex((term) => isPatchRow(term, traced))
    return parts.slice(0, at).reduce((n, term) => n + (isInt(term) ? term.n : 0), 0)
  }
  return null
}

function roleOf(dims: readonly Dim[] | null, hidden: number, traced: Trace): OutputRole {
  if (dims === null || dims[0] === undefined || layoutKey(dims[0]) !== 'batch') return 'other'
  const along = dims.flatMap((dim, axis) => (dependsOnSize(dim) ? [axis] : []))
  if (along.length === 0) return dims.length === 2 ? (dims[1]?.n === hidden ? 'pooled' : 'scores') : 'other'
  if (gridAxes(dims, traced)[0] >= 0) return 'feature map'
  if (along.length === 2 && along.every((axis) => isTokenRow(dims[axis] as Dim, traced))) return 'attention weights'
  return along.length === 1 && dims.length === 3 ? 'tokens' : 'other'
}

function findBaked({ patch, fixed, facts, sizes }: Trace): BakedSummary {
  const [batch, , height, width] = patch.pixels.declaredDims ?? []
  const number = (dim: DeclaredDim | undefined, isFixed: boolean) => (isFixed ? Number(dim) : null)
  const perToken = facts.disagreements.some(
    ({ kind, left, right }) => kind === 'baked' && [left, right].some((dim) => dependsOnSize(dim) && !isInt(dim)),
  )
  return {
    batch: number(batch, fixed.batch),
    height: number(height, fixed.height),
    width: number(width, fixed.width),
    tied: typeof height === 'string' && height !== '' && height === width,
    tokens: perToken ? sizes.rows * sizes.cols : null,
  }
}

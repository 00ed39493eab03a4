import type { Model } from './model.ts'

/** The key in `metadata_props`. */
export const METADATA_KEY = 'vitpass'

export interface AppliedPass {
  readonly name: string
  readonly version: number
  readonly options: Readonly<Record<string, string | number | boolean>>
}

/** What vitpass has written into a model about itself. */
export interface Provenance {
  readonly version: 1
  readonly passes: readonly AppliedPass[]
  /** The patch grid of an export for one size. */
  readonly exported?: { readonly rows: number; readonly cols: number }
  /** The same, while a position table of that size is still in the graph. */
  readonly grid?: { readonly rows: number; readonly cols: number } | undefined
  /** Outputs of which padding takes a part, left as they are at the caller's wish. */
  readonly inexact?: readonly string[]
  /** Tokens behind the patches, where there are any. */
  readonly suffix?: number
  /** How the graph tells image from padding, once a pass has put that in. */
  readonly validity?: Readonly<Record<string, string | number | boolean>>
}

/** What the metadata say was done to this model; nothing where they are absent or not ours. */
export function readProvenance(model: { readonly metadata: ReadonlyMap<string, string> }): Provenance {
  const text = model.metadata.get(METADATA_KEY)
  if (text === undefined) return { version: 1, passes: [] }
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) {
      const passes = 'passes' in parsed && Array.isArray(parsed.passes) ? parsed.passes.filter(isApplied) : []
      return { ...parsed, version: 1, passes }
    }
  } catch {
    // Another tool's text under our key: nothing of ours was applied.
  }
  return { version: 1, passes: [] }
}

function isApplied(entry: unknown): entry is AppliedPass {
  return typeof entry === 'object' && entry !== null && 'name' in entry && 'options' in entry
}

/** Adds to what the metadata say, or replaces it. */
export function writeProvenance(model: Model, more: Partial<Provenance>): void {
  model.setMetadata(METADATA_KEY, JSON.stringify({ ...readProvenance(model), ...more }))
}

export function recordPass(model: Model, applied: AppliedPass): void {
  writeProvenance(model, { passes: [...readProvenance(model).passes, applied] })
}

export function findApplied(model: Model, name: string): AppliedPass | undefined {
  return readProvenance(model).passes.find((applied) => applied.name === name)
}

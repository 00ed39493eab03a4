import type { Model } from '../ir/model.ts'
import type { Node } from '../ir/node.ts'
import type { TensorOption } from './tensor-option.ts'

export type OptionValue = string | number | boolean | TensorOption

/** One option of a pass, as `--option pass.key=value` sets it. */
export interface OptionSpec {
  readonly describe: string
  /** A `tensor` is none by default; the command line reads it from a .npy file. */
  readonly type: 'string' | 'number' | 'boolean' | 'tensor'
  readonly default: OptionValue
  readonly choices?: readonly string[]
  /** What a text looks like, and how to say so. */
  readonly pattern?: { readonly regex: RegExp; readonly wanted: string }
  /** The least number. */
  readonly minimum?: number
}

export type PassOptions = Readonly<Record<string, OptionValue>>

/** Why a pass does not apply: what was found, and at which node. */
export interface Refusal {
  readonly reason: string
  readonly node?: Node
  readonly remedy?: string
}

/** What a pass did. */
export type PassResult =
  | {
      readonly status: 'applied'
      /** Places in the graph that it changed: a noun in the singular, and how many. */
      readonly sites: Readonly<Record<string, number>>
      /** What the user should know: assumptions made, limits. */
      readonly notes?: readonly string[]
      /** What is left for another pass: notes that are told only where that pass does not run after this one. */
      readonly pending?: readonly { readonly pass: string; readonly note: string }[]
    }
  /** The graph needs nothing of it. */
  | { readonly status: 'nothing'; readonly notes: readonly string[] }
  /** It cannot make this graph right and left it untouched. */
  | { readonly status: 'refused'; readonly refusals: readonly Refusal[] }

/** A graph transformation. Matches first, edits after: one that refuses leaves the model untouched. */
export interface Pass {
  readonly name: string
  /** Raised when what it writes changes; kept in the model's metadata. */
  readonly version: number
  readonly summary: string
  readonly options: Readonly<Record<string, OptionSpec>>
  /** Passes that must have run before. */
  readonly requires: readonly string[]
  /** Notes in the model's metadata what passes before it should know of its options. */
  prepare?(model: Model, options: PassOptions): void
  run(model: Model, options: PassOptions): PassResult
}

export function refuse(reason: string, node?: Node, remedy?: string): PassResult {
  return {
    status: 'refused',
    refusals: [{ reason, ...(node === undefined ? {} : { node }), ...(remedy === undefined ? {} : { remedy }) }],
  }
}

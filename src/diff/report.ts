/** Something that one model has and the other has not, or has otherwise; null where it is absent. */
export interface Change<T> {
  readonly name: string
  readonly before: T | null
  readonly after: T | null
}

export interface NodeCounts {
  readonly before: number
  readonly after: number
  /** Computed in the same way from the model's inputs on. */
  readonly unchanged: number
  /** The same operator with the same attributes and constants, on something that is computed otherwise. */
  readonly rewired: number
  readonly removed: number
  readonly added: number
}

export interface TensorSummary {
  readonly dtype: string
  readonly dims: readonly number[]
  readonly bytes: number
}

export interface InitializerChanges {
  readonly before: { readonly count: number; readonly bytes: number }
  readonly after: { readonly count: number; readonly bytes: number }
  /** The same type, dims and elements, under whatever name. */
  readonly unchanged: number
  readonly changes: readonly Change<TensorSummary>[]
}

/** What differs between two models. Nodes and constants are matched by what they are, inputs, outputs and metadata by name. */
export interface DiffReport {
  /** True where nothing below differs. Names inside the graph, and where in the file things are stored, may. */
  readonly same: boolean
  readonly nodes: NodeCounts
  /** How many nodes of each operator, where the numbers differ. */
  readonly operators: readonly Change<number>[]
  readonly inputs: readonly Change<string>[]
  readonly outputs: readonly Change<string>[]
  /** Outputs that both have and that are computed otherwise. */
  readonly recomputed: readonly string[]
  readonly initializers: InitializerChanges
  /** Functions that the models define, as `domain:name`. */
  readonly functions: readonly Change<string>[]
  readonly opsets: readonly Change<number>[]
  readonly metadata: readonly Change<string>[]
  /** IR version and producer. */
  readonly header: readonly Change<string>[]
}

/** What one pass did, as `run` reports it and `--json` prints it. */
export interface PassReport {
  readonly pass: string
  readonly version: number
  readonly options: Readonly<Record<string, string | number | boolean>>
  /** True where the runner added it because another pass requires it. */
  readonly added: boolean
  readonly status: 'applied' | 'already' | 'nothing' | 'refused'
  readonly sites: Readonly<Record<string, number>>
  readonly notes: readonly string[]
  readonly refusals: readonly RefusalReport[]
  readonly nodesBefore: number
  readonly nodesAfter: number
  readonly seconds: number
}

export interface RefusalReport {
  readonly reason: string
  /** Operator and name of the node. */
  readonly node?: string
  readonly remedy?: string
}

export interface RunReport {
  readonly passes: readonly PassReport[]
  readonly nodesBefore: number
  readonly nodesAfter: number
  readonly seconds: number
}

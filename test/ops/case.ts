import type { Value } from '../../src/ir/value.ts'
import type { Builder } from '../../src/ops/builder.ts'
import type { Fed } from './run-graph.ts'

/** One call of a builder method and what plain arithmetic says of it. */
export interface Case {
  /** The operators that it is about; every operator with a method must stand in some case. */
  readonly op: string
  readonly what?: string
  /** The opset from which the builder writes it; below, it must refuse. Default: every one. */
  readonly from?: number
  readonly inputs: readonly Fed[]
  readonly build: (b: Builder, ...values: Value[]) => Value | readonly Value[]
  readonly expected: readonly Fed[]
}

import type { Trace } from '../analysis/trace.ts'
import type { Model } from '../ir/model.ts'
import { Builder } from '../ops/builder.ts'

/** A builder for what a pass adds: names begin with `vitpass/<pass>`, element types come from the trace. */
export function builderFor(model: Model, trace: Trace, pass: string): Builder {
  return new Builder(model.graph, model.opset, {
    scope: `vitpass/${pass}`,
    dtypeOf: (value) => trace.facts.dtype(value),
  })
}

import { dependents } from '../src/analysis/dependence.ts'
import { shapeSummary } from '../src/analysis/describe.ts'
import { trace } from '../src/analysis/trace.ts'
import type { Dim } from '../src/ir/dim.ts'
import { type FloatType, isFloat } from '../src/ir/dtype.ts'
import { readProvenance } from '../src/ir/provenance.ts'
import type { Value } from '../src/ir/value.ts'
import { type Pass, refuse } from '../src/pipeline/pass.ts'
import { builderFor } from '../src/rewrite/builder-for.ts'
import { canSelect, Validity } from '../src/rewrite/validity.ts'

/**
 * Sets every output to exactly 0 at padded positions, along each axis that tokens lie on (both of attention weights), and
 * everywhere for an image that is all padding. Tokens in front of the patches are kept. Outputs that no pixel reaches stay.
 * Outputs that `mask` has named as not exact stay where their axes are no row or grid of patches.
 * Refuses any other output whose batch is not its first axis or whose token axis is not prefix and patches in reading order.
 */
export const zero: Pass = {
  name: 'zero',
  version: 1,
  summary: 'zeroes outputs at padded positions, and everything of an all-zero image',
  options: {},
  requires: ['mask'],
  run(model) {
    const traced = trace(model)
    const live = dependents(model.graph, ...traced.inputs)
    const builder = builderFor(model, traced, 'zero')
    const inexact = new Set(readProvenance(model).inexact ?? [])
    const sites: { output: Value; dims: readonly Dim[]; dtype: FloatType }[] = []
    for (const output of model.graph.outputs) {
      if (!live.has(output)) continue
      const node = output.producer ?? undefined
      const dims = traced.facts.dims(output)
      const dtype = traced.facts.dtype(output)
      if (dims === null && inexact.has(output.name)) continue
      if (dims === null) return refuse(`the axes of output ${output.name} are not known`, node)
      if (inexact.has(output.name) && (dtype === undefined || !isFloat(dtype) || !canSelect(dims, traced))) continue
      if (dtype === undefined || !isFloat(dtype)) {
        return refuse(`output ${output.name} holds ${dtype ?? 'an unknown type'}, which has no zero for padding`, node)
      }
      if (!canSelect(dims, traced)) {
        return refuse(
          `output ${output.name} is ${shapeSummary(dims)}, which does not lay out one row of tokens for each image`,
          node,
        )
      }
      sites.push({ output, dims, dtype })
    }
    const validity = Validity.in(model, traced, builder)
    for (const { output, dims, dtype } of sites) {
      const zeroed = builder.where(validity.select(dims), output, builder.float(0, dtype))
      model.graph.replaceOutput(output, zeroed)
    }
    model.graph.sort()
    return { status: 'applied', sites: { output: sites.length } }
  },
}

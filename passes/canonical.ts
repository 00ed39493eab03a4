import { trace } from '../src/analysis/trace.ts'
import { inlineFunctions } from '../src/ir/inline.ts'
import { renameShadowing } from '../src/ir/shadow.ts'
import type { Pass } from '../src/pipeline/pass.ts'
import { applyRules, type RuleContext } from '../src/rewrite/engine.ts'
import { renameGenerated } from '../src/rewrite/generated-names.ts'
import { canonicalRules } from '../src/rewrite/rules/index.ts'

/**
 * Brings a model to the form that other passes read: constants as initializers, shape arithmetic folded into the targets of
 * Reshape, nodes without effect, branches that no size takes, always-true masks and the guard of safe softmax removed, compositions
 * written as the one operator that the opset has for them, names of ONNX Runtime's own given back to it. Nothing it computes changes.
 * Refuses a model that is no vision transformer.
 */
export const canonical: Pass = {
  name: 'canonical',
  version: 1,
  summary: 'folds shape arithmetic and removes what has no effect, so that every export reads alike',
  options: {},
  requires: [],
  run(model) {
    const analyse = (): RuleContext => ({ graph: model.graph, opset: model.opset, facts: trace(model).facts })
    const inlined = inlineFunctions(model)
    const shadowing = renameShadowing(model.graph)
    const sites: Record<string, number> = {
      ...(shadowing === 0 ? {} : { 'hidden name': shadowing }),
      ...(inlined === 0 ? {} : { 'inlined function': inlined }),
      ...applyRules(model, canonicalRules, analyse),
    }
    const renamed = renameGenerated(model.graph)
    if (renamed > 0) sites['generated name'] = renamed
    if (Object.keys(sites).length === 0) return { status: 'nothing', notes: ['the graph is in canonical form'] }
    return { status: 'applied', sites }
  },
}

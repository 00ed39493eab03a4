import { HINTS_KEY, readHints } from '../batching/hints.ts'
import type { PlanOptions } from '../batching/plan.ts'
import type { EncoderModel } from './encoder-model.ts'

/**
 * What a call costs beside its tokens, in tokens: between 9 and 15 for a ViT-tiny, 16 and 24 for a ViT-base (one thread of ONNX
 * Runtime's CPU provider).
 */
const CALL_TOKENS = 12

/** Features of a token where the file does not say: those of a ViT-base. */
const FEATURES = 768

/**
 * What batches cost: from the constants that the `bucket` pass left in the model, else from the count of operations in a transformer
 * block, 12 features^2 multiplications for a token and 2 features for each pair of them.
 */
export function costOf(model: EncoderModel, features: number | null): Pick<PlanOptions, 'quadratic' | 'callTokens'> {
  const cost = readHints(model.metadata.get(HINTS_KEY))?.cost
  if (cost !== undefined && cost.linear > 0) {
    return { quadratic: cost.attention / cost.linear, callTokens: cost.call / cost.linear }
  }
  return { quadratic: 1 / (6 * (features ?? FEATURES)), callTokens: CALL_TOKENS }
}

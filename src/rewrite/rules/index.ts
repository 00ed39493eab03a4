import type { Rule } from '../engine.ts'
import { constantNode } from './constant-node.ts'
import { decidedBranch } from './decided-branch.ts'
import { flatSoftmax } from './flat-softmax.ts'
import { foldIntegers } from './fold-integers.ts'
import { fusableGelu } from './fusable-gelu.ts'
import { gelu } from './gelu.ts'
import { idleMask } from './idle-mask.ts'
import { keyBias } from './key-bias.ts'
import { keyTranspose } from './key-transpose.ts'
import { layerNorm } from './layer-norm.ts'
import { noOp } from './no-op.ts'
import { openSlice } from './open-slice.ts'
import { constantTarget } from './reshape-target.ts'
import { safeSoftmax } from './safe-softmax.ts'
import { singleTranspose } from './single-transpose.ts'
import { stackedProduct } from './stacked-product.ts'

/** The rules that bring every exporter's dialect to one form, tried in this order at each node. */
export const canonicalRules: readonly Rule[] = [
  constantNode,
  decidedBranch,
  foldIntegers,
  noOp,
  constantTarget,
  openSlice,
  singleTranspose,
  stackedProduct,
  flatSoftmax,
  idleMask,
  safeSoftmax,
  layerNorm,
  gelu,
  fusableGelu,
  keyBias,
  keyTranspose,
]

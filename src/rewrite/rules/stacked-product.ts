import type { Node } from '../../ir/node.ts'
import type { Value } from '../../ir/value.ts'
import type { Builder } from '../../ops/builder.ts'
import type { Rule } from '../engine.ts'

/**
 * FusedMatMul of com.microsoft with `transBatchA` or `transBatchB`, as ONNX Runtime writes a product of operands that lie sequence first,
 * becomes Transpose, MatMul and the scale: where the batch and the tokens lie is to be seen in the graph. Left alone where the rank
 * of an operand is not known.
 */
export const stackedProduct: Rule = {
  name: 'stacked product',
  match(node, { facts }) {
    const [old, left, right] = [node.output(0), node.input(0), node.input(1)]
    if (node.domain !== 'com.microsoft' || node.opType !== 'FusedMatMul') return null
    if (node.int('transBatchA', 0) !== 1 && node.int('transBatchB', 0) !== 1) return null
    const [rankA, rankB] = [facts.dims(left)?.length ?? 0, facts.dims(right)?.length ?? 0]
    const dtype = facts.dtype(left)
    if (old === null || left === null || right === null || rankA < 2 || rankB < 2) return null
    if (dtype !== 'float' && dtype !== 'float16' && dtype !== 'double') return null
    const alpha = node.float('alpha', 1)
    return {
      old,
      next: (builder) => {
        const product = builder.matMul(
          turned(builder, node, 'A', left, rankA),
          turned(builder, node, 'B', right, rankB),
        )
        return alpha === 1 ? product : builder.mul(product, builder.float(alpha, dtype))
      },
    }
  },
}

/** The operand as a stack of matrices: `transBatch` has its first axis for the rows, `trans` turns each matrix after that. */
function turned(builder: Builder, node: Node, side: 'A' | 'B', value: Value, rank: number): Value {
  const all = Array.from({ length: rank }, (_, i) => i)
  const stacked = node.int(`transBatch${side}`, 0) === 1 ? [...all.slice(1, -1), 0, rank - 1] : all
  const perm = node.int(`trans${side}`, 0) === 1 ? [...stacked.slice(0, -2), ...stacked.slice(-2).reverse()] : stacked
  return perm.every((axis, i) => axis === i) ? value : builder.transpose(value, { perm })
}

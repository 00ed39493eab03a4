import type { Rule } from '../engine.ts'

/**
 * A Transpose of [batch, tokens, heads, dim] to [batch, heads, dim, tokens] before a matrix product is written as one to [batch, heads,
 * tokens, dim] and one that swaps the last two axes: ONNX Runtime takes the swap into the product, and the first copies whole rows.
 */
export const keyTranspose: Rule = {
  name: 'key transpose',
  match(node) {
    const old = node.output(0)
    const source = node.input(0)
    if (!node.is('Transpose') || old === null || source === null || node.ints('perm')?.join() !== '0,2,3,1') return null
    if (old.users.length === 0 || !old.users.every((user) => user.is('MatMul') && user.input(1) === old)) return null
    return {
      old,
      next: (builder) => builder.transpose(builder.transpose(source, { perm: [0, 2, 1, 3] }), { perm: [0, 1, 3, 2] }),
    }
  },
}

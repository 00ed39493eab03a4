import { countOf, listOf } from '../../analysis/facts.ts'
import type { DType } from '../../ir/dtype.ts'
import type { Tensor } from '../../ir/tensor.ts'
import { boolTensor, int64Tensor, intTensor } from '../../ir/tensor-data.ts'
import type { Rule } from '../engine.ts'

/** Elements at most: what shape arithmetic needs, and no table of weights. */
const LIMIT = 4096

/**
 * A chain of integer or boolean arithmetic whose outcome is the same at every size becomes a constant: what is left of
 * shape computations once their symbolic parts have gone.
 */
export const foldIntegers: Rule = {
  name: 'folded integer',
  match(node, { facts }) {
    const old = node.output(0)
    if (old === null || node.outputs.length !== 1 || node.is('Constant')) return null
    const { dtype, contents } = facts.get(old) ?? {}
    const dims = facts.dims(old)
    if (dtype === undefined || contents === undefined || contents === null || dims === null) return null
    if (countOf(contents) > LIMIT || !dims.every((dim) => dim.atoms.every((atom) => atom.kind === 'int'))) return null
    const items = listOf(contents)
    if (!items.every((item) => item.atoms.every((atom) => atom.kind === 'int'))) return null
    const tensor = tensorOf(
      dtype,
      dims.map((dim) => dim.n),
      items.map((item) => item.n),
    )
    return tensor === null ? null : { old, next: (builder) => builder.constant(tensor) }
  },
}

function tensorOf(dtype: DType, dims: number[], items: number[]): Omit<Tensor, 'name'> | null {
  if (!items.every(Number.isSafeInteger)) return null
  if (dtype === 'int64') return int64Tensor(dims, items)
  if (dtype === 'int32') return intTensor('int32', dims, items)
  if (dtype === 'bool')
    return boolTensor(
      dims,
      items.map((item) => item !== 0),
    )
  return null
}

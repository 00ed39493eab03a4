import type { Node } from '../../ir/node.ts'
import type { Tensor } from '../../ir/tensor.ts'
import { floatTensor, int64Tensor } from '../../ir/tensor-data.ts'
import type { Rule } from '../engine.ts'

/** `Constant` becomes an initializer. Sparse constants and strings stay as they are. */
export const constantNode: Rule = {
  name: 'constant',
  match(node) {
    const old = node.output(0)
    const tensor = node.is('Constant') ? constantTensor(node) : null
    if (old === null || tensor === null) return null
    return { old, next: (builder) => builder.constant(tensor) }
  },
}

function constantTensor(node: Node): Omit<Tensor, 'name'> | null {
  for (const [name, attribute] of node.attributes) {
    if (name === 'value' && attribute.type === 'tensor') return attribute.value
    if (attribute.type === 'int') return int64Tensor([], [attribute.value])
    if (attribute.type === 'ints') return int64Tensor([attribute.value.length], attribute.value)
    if (attribute.type === 'float') return floatTensor([], [attribute.value])
    if (attribute.type === 'floats') return floatTensor([attribute.value.length], attribute.value)
  }
  return null
}

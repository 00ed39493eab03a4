import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'

/** One side of a matrix product. */
export interface ProductOperand {
  readonly value: Value | null
  /** The axis that is summed over, counted from the end. */
  readonly axis: -1 | -2
  /** What stands for 0 in a quantised operand; null for plain 0. */
  readonly zeroPoint: Value | null
}

/** Input slots of both operands and of their zero points; -1 where there is none. A packed right side is a constant that no axis fits. */
interface Slots {
  readonly left: number
  readonly right: number
  readonly leftZero?: number
  readonly rightZero?: number
  readonly transposes?: boolean
}

const PRODUCTS: Readonly<Record<string, Slots>> = {
  MatMul: { left: 0, right: 1 },
  Gemm: { left: 0, right: 1, transposes: true },
  MatMulInteger: { left: 0, right: 1, leftZero: 2, rightZero: 3 },
  QLinearMatMul: { left: 0, right: 3, leftZero: 2, rightZero: 5 },
  'com.microsoft:FusedMatMul': { left: 0, right: 1, transposes: true },
  'com.microsoft:FusedGemm': { left: 0, right: 1, transposes: true },
  'com.microsoft:QGemm': { left: 0, right: 3, leftZero: 2, rightZero: 5, transposes: true },
  'com.microsoft:MatMulIntegerToFloat': { left: 0, right: 1, leftZero: 4, rightZero: 5 },
  'com.microsoft:DynamicQuantizeMatMul': { left: 0, right: 1, rightZero: 3 },
  'com.microsoft:MatMulNBits': { left: 0, right: -1 },
  'com.microsoft:MatMulBnb4': { left: 0, right: -1 },
}

/** True for a matrix product, in floats, in integers, or with packed weights. */
export function isProduct(node: Node): boolean {
  return Object.hasOwn(PRODUCTS, node.operator)
}

/** Both sides of a matrix product; null for any other node. */
export function productOperands(node: Node): readonly [ProductOperand, ProductOperand] | null {
  const slots = isProduct(node) ? PRODUCTS[node.operator] : undefined
  if (slots === undefined) return null
  const turned = (name: string) => slots.transposes === true && node.int(name, 0) === 1
  const zero = (slot: number | undefined) => (slot === undefined ? null : node.input(slot))
  return [
    { value: node.input(slots.left), axis: turned('transA') ? -2 : -1, zeroPoint: zero(slots.leftZero) },
    {
      value: slots.right < 0 ? null : node.input(slots.right),
      axis: turned('transB') ? -1 : -2,
      zeroPoint: zero(slots.rightZero),
    },
  ]
}

import { describe, expect, it } from 'vitest'
import { einsum, matmul } from '../../src/analysis/contract.ts'

const dense = (dims: readonly number[], from = 1) => ({
  dims,
  data: Float64Array.from({ length: dims.reduce((n, dim) => n * dim, 1) }, (_, i) => from + i),
})

describe('einsum', () => {
  it('multiplies every pair', () => {
    const made = einsum('i, j -> ij', [dense([2]), dense([3], 10)])
    expect(made?.dims).toEqual([2, 3])
    expect([...(made?.data ?? [])]).toEqual([10, 11, 12, 20, 22, 24])
  })

  it('sums over letters that the result lacks, and turns axes', () => {
    const made = einsum('ik,kj->ji', [dense([2, 2]), dense([2, 2], 5)])
    expect([...(made?.data ?? [])]).toEqual([19, 43, 22, 50])
    expect([...(einsum('i,i->', [dense([3]), dense([3])])?.data ?? [])]).toEqual([14])
  })

  it.each([
    ['ii,j->ij', [2, 2], [2]],
    ['...i,j->ij', [2], [2]],
    ['i,j', [2], [2]],
    ['ij,j->i', [2], [2]],
  ] as const)('leaves %s alone', (equation, left, right) => {
    expect(einsum(equation, [dense(left), dense(right)])).toBeNull()
  })

  it('leaves other numbers of operands, and large ones, alone', () => {
    expect(einsum('i->i', [dense([2])])).toBeNull()
    expect(einsum('i,j,k->ijk', [dense([2]), dense([2]), dense([2])])).toBeNull()
    expect(einsum('i,j->ij', [dense([8192]), dense([8192])])).toBeNull()
  })
})

describe('matmul', () => {
  it('broadcasts batches', () => {
    const made = matmul(dense([2, 1, 2]), dense([2, 1], 10))
    expect(made?.dims).toEqual([2, 1, 1])
    expect([...(made?.data ?? [])]).toEqual([32, 74])
  })

  it('takes vectors on either side', () => {
    expect(matmul(dense([2]), dense([2]))).toMatchObject({ dims: [], data: Float64Array.of(5) })
    expect(matmul(dense([2]), dense([2, 2]))).toMatchObject({ dims: [2], data: Float64Array.of(7, 10) })
    expect(matmul(dense([2, 2]), dense([2]))).toMatchObject({ dims: [2], data: Float64Array.of(5, 11) })
  })
})

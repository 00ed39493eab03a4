import { describe, expect, it } from 'vitest'
import { reshapeTarget } from '../../src/analysis/reshape-target.ts'
import { BINARY, castScalar, chosen, UNARY } from '../../src/analysis/scalar.ts'
import { reshapeDims } from '../../src/analysis/shapes/reshape.ts'
import { floorDiv, int, layoutKey, minus, plus, product, roots, sizeKey, sum, sym } from '../../src/ir/dim.ts'

const batch = sym('batch', 2)
const height = sym('height', 64)
const rows = floorDiv(height, 16)
const cols = floorDiv(sym('width', 64), 16)
const tokens = sum(int(1), product(rows, cols))
const keys = (dims: readonly (typeof batch)[] | null) => dims?.map(layoutKey)

describe('symbolic sizes', () => {
  it('keeps the order of factors in the layout and not in the size', () => {
    expect(layoutKey(product(batch, int(12)))).toBe('batch*12')
    expect(layoutKey(product(int(12), batch))).toBe('12*batch')
    expect(sizeKey(product(int(12), batch))).toBe(sizeKey(product(batch, int(12))))
  })

  it('gives floor division the same name however it is reached', () => {
    const convolved = plus(floorDiv(plus(height, -16), 16), 1)
    expect(layoutKey(convolved)).toBe(layoutKey(rows))
    const byCast = castScalar(BINARY.Div?.(height, int(16), 'float') ?? int(0), 'int')
    expect(layoutKey(byCast)).toBe(layoutKey(rows))
    expect(layoutKey(UNARY.Floor?.(BINARY.Div?.(height, int(16), 'float') ?? int(0)) ?? int(0))).toBe(layoutKey(rows))
  })

  it('subtracts what it added', () => {
    expect(layoutKey(minus(tokens, int(1)) ?? int(0))).toBe('(height/16)*(width/16)')
    expect(minus(tokens, tokens)?.n).toBe(0)
    expect(minus(int(1), tokens)).toBeUndefined()
  })

  it('knows on which input axes a size depends', () => {
    expect([...roots(tokens)].sort()).toEqual(['height', 'width'])
    expect([...roots(product(batch, int(3)))]).toEqual(['batch'])
  })

  it('decides a comparison only where it holds at every size', () => {
    expect(BINARY.Equal?.(batch, int(-1), 'int').atoms).toEqual(int(0).atoms)
    expect(BINARY.Equal?.(rows, rows, 'int').n).toBe(1)
    // 4 rows and 4 columns here: another image has another answer.
    const square = BINARY.Equal?.(rows, cols, 'int') ?? int(0)
    expect(square.n).toBe(1)
    expect(roots(square).size).toBe(2)
    expect(roots(chosen(square, int(5), int(7))).size).toBe(2)
    expect(layoutKey(chosen(square, rows, rows))).toBe(layoutKey(rows))
  })
})

describe('reshapeDims', () => {
  it('splits and merges heads', () => {
    const split = reshapeDims([batch, tokens, int(32)], [2, 17, 4, 8])
    expect(keys(split)).toEqual(['batch', '(1+(height/16)*(width/16))', '4', '8'])
    expect(keys(reshapeDims([batch, int(4), tokens, int(8)], [8, 17, 8]))).toEqual([
      'batch*4',
      '(1+(height/16)*(width/16))',
      '8',
    ])
  })

  it('is not misled by equal numbers: batch 2 and 2 heads, 16 patches and patch 16', () => {
    expect(keys(reshapeDims([product(batch, int(2)), int(8)], [2, 2, 8]))).toEqual(['batch', '2', '8'])
    expect(keys(reshapeDims([int(16), product(rows, cols), int(16)], [16, 16, 16]))).toEqual([
      '16',
      '(height/16)*(width/16)',
      '16',
    ])
  })

  it('splits height into patch rows and pixels, and refuses to split a symbol otherwise', () => {
    expect(keys(reshapeDims([batch, height], [2, 4, 16]))).toEqual(['batch', '(height/16)', '16'])
    expect(reshapeDims([batch, product(rows, cols)], [2, 2, 8])).toBeNull()
  })
})

describe('reshapeTarget', () => {
  it('copies axes that stay, infers one, and leaves the rest to be computed', () => {
    expect(reshapeTarget([batch, tokens, int(32)], [batch, tokens, int(4), int(8)])).toEqual([0, 0, 4, 8])
    expect(reshapeTarget([batch, int(4), tokens, int(8)], [product(batch, int(4)), tokens, int(8)])[0]).not.toBe(0)
    expect(reshapeTarget([batch, int(32), rows, cols], [batch, int(32), product(rows, cols)])).toEqual([0, 32, -1])
    const grid = reshapeTarget([batch, product(rows, cols), int(32)], [batch, rows, cols, int(32)])
    expect(grid[0]).toBe(0)
    expect(grid[2]).toBe(-1)
    expect(grid[1]).toMatchObject({ n: 4 })
  })
})

import { describe, expect, it } from 'vitest'
import { type Layout, maskedPart, ownPart, type Placement } from './layout.ts'

/** One prefix token and a 2 x 3 grid, of which an image owns 2 x 2; its second patch is hidden. */
const PLACEMENT: Placement = { prefix: 1, padded: { rows: 2, cols: 3 }, own: { rows: 2, cols: 2 }, hidden: [1] }

function count(...dims: number[]): { data: Float32Array; dims: number[] } {
  const length = dims.reduce((product, dim) => product * dim, 1)
  return { data: Float32Array.from({ length }, (_, i) => i), dims }
}

function parts(layout: Layout, ...dims: number[]): { own: number[]; masked: number[] } {
  const output = count(...dims)
  return { own: [...ownPart(output, layout, PLACEMENT).data], masked: [...maskedPart(output, layout, PLACEMENT)] }
}

describe('an output of a padded batch', () => {
  it('splits into own and masked tokens', () => {
    expect(parts(['tokens', 'fixed'], 7, 1)).toEqual({ own: [0, 1, 2, 4, 5], masked: [2, 3, 6] })
    expect(parts(['patches', 'fixed'], 6, 1)).toEqual({ own: [0, 1, 3, 4], masked: [1, 2, 5] })
  })

  it('splits into own and masked places of a grid', () => {
    expect(parts(['fixed', 'rows', 'cols'], 1, 2, 3)).toEqual({ own: [0, 1, 3, 4], masked: [1, 2, 5] })
  })

  it('splits attentions by rows and columns', () => {
    const { own, masked } = parts(['fixed', 'tokens', 'tokens'], 1, 7, 7)
    expect(own.slice(0, 6)).toEqual([0, 1, 2, 4, 5, 7])
    expect(own).toHaveLength(25)
    expect(masked).toHaveLength(49 - 16)
  })

  it('has nothing masked where no axis follows the image', () => {
    expect(parts(['fixed'], 3)).toEqual({ own: [0, 1, 2], masked: [] })
  })
})

import { describe, expect, it } from 'vitest'
import { type Layout, maskedPart, ownPart, type Placement } from '../../src/verify/layout.ts'

/** Of a 2 x 3 grid an image owns 2 x 2; its second patch is hidden. */
const PLACEMENT: Placement = { padded: { rows: 2, cols: 3 }, own: { rows: 2, cols: 2 }, hidden: [1] }

function parts(layout: Layout, ...dims: number[]): { own: number[]; masked: number[] } {
  const length = dims.reduce((product, dim) => product * dim, 1)
  const output = { data: Float32Array.from({ length }, (_, i) => i), dims }
  return { own: [...ownPart(output, layout, PLACEMENT).data], masked: [...maskedPart(output, layout, PLACEMENT)] }
}

describe('an output of a padded batch', () => {
  it('keeps tokens before and after the patches as its own', () => {
    const tokens = parts([{ kind: 'tokens', before: 2, after: 1 }], 9)
    expect(tokens).toEqual({ own: [0, 1, 2, 3, 5, 6, 8], masked: [3, 4, 7] })
  })

  it('splits maps by rows and columns', () => {
    const map = parts([{ kind: 'fixed' }, { kind: 'rows' }, { kind: 'cols' }], 1, 2, 3)
    expect(map).toEqual({ own: [0, 1, 3, 4], masked: [1, 2, 5] })
  })
})

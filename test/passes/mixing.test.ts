import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { floatTensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import { PassRefusedError, runPasses } from '../../src/pipeline/run.ts'
import { BESIDE, type Block, DOUBTFUL, normed, PREPARED, RIGHT } from '../support/drawn-blocks.ts'
import {
  attend,
  type Drawing,
  drawVit,
  gridShape,
  HEADS,
  inHeads,
  type Pen,
  paddedAgainstAlone,
  project,
  scoresOf,
  WIDTH,
  weights,
  withClassToken,
} from '../support/drawn-vit.ts'
import type { Axis } from '../support/layout.ts'

const SIZES = [
  { height: 16, width: 16 },
  { height: 8, width: 20 },
  { height: 4, width: 4 },
  { height: 20, width: 8 },
]

interface Outcome {
  readonly own: number
  readonly padding: number
}

/** Draws blocks between a normalisation before and after each; null where the passes refuse. */
async function outcome(
  blocks: readonly Block[],
  front: 'none' | 'class token',
  drawing: Drawing = {},
): Promise<Outcome | null> {
  const layouts: Record<string, readonly Axis[]> = { y0: ['tokens', 'fixed'], y1: ['fixed'] }
  const draw = () =>
    drawVit((pen) => {
      let x = front === 'none' ? pen.tokens : withClassToken(pen)
      for (const [i, block] of blocks.entries()) x = normed(pen.b, block(pen, x, 100 * (i + 1)))
      return [x, pen.b.reduceMean(x, { axes: [1], keepdims: 0 })]
    }, drawing)
  const [original, transformed] = [draw(), draw()]
  try {
    runPasses(registry, transformed, ['padproof'])
  } catch (error) {
    if (error instanceof PassRefusedError) return null
    throw error
  }
  return paddedAgainstAlone({ original, transformed }, layouts, SIZES, front === 'none' ? 0 : 1)
}

describe('a block that a mask makes right', () => {
  it.each(Object.entries(RIGHT))('%s', async (_, block) => {
    for (const front of ['none', 'class token'] as const) {
      const found = (await outcome([block], front)) ?? expect.fail(`it was refused with ${front} in front`)
      expect(found.own).toBeLessThan(2e-5)
      expect(found.padding).toBe(0)
    }
  })
})

describe('a block that a mask may not make right is refused, or right', () => {
  it.each(Object.entries(DOUBTFUL))('%s', async (_, block) => {
    for (const front of ['none', 'class token'] as const) {
      const found = await outcome([block], front)
      expect(found?.own ?? 0, front).toBeLessThan(2e-5)
      expect(found?.padding ?? 0, front).toBe(0)
    }
  })
})

describe('an image that is changed before it is cut is refused, or right', () => {
  it.each(Object.entries(PREPARED))('%s', async (name, prepare) => {
    const found = await outcome([RIGHT.attention as Block], 'none', { prepare })
    if (name === 'normalised by constants') expect(found).not.toBeNull()
    expect(found?.own ?? 0).toBeLessThan(2e-5)
    expect(found?.padding ?? 0).toBe(0)
  })
})

describe('what tokens are given of the image besides their patch is refused, or right', () => {
  it.each(Object.entries(BESIDE))('%s', async (_, block) => {
    const found = await outcome([block], 'none')
    expect(found?.own ?? 0).toBeLessThan(2e-5)
    expect(found?.padding ?? 0).toBe(0)
  })
})

describe('blocks one after another, as drawn by lot', () => {
  it.each(Array.from({ length: 16 }, (_, seed) => ({ seed })))('seed $seed', async ({ seed }) => {
    let state = (seed + 1) * 2654435761
    const draw = (n: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return Math.floor((state / 2 ** 32) * n)
    }
    const all = Object.values(RIGHT)
    const blocks = Array.from({ length: 4 }, () => all[draw(all.length)] as Block)
    const opset = [17, 20, 23][draw(3)] ?? 17
    const found = await outcome(blocks, draw(2) === 0 ? 'none' : 'class token', { opset })
    expect(found?.own).toBeLessThan(5e-5)
    expect(found?.padding).toBe(0)
  })
})

describe('what looks alike and is right is not refused', () => {
  const sizes = [
    { height: 16, width: 16 },
    { height: 8, width: 20 },
    { height: 4, width: 4 },
    { height: 20, width: 8 },
  ]
  const fits: readonly { readonly name: string; readonly draw: (pen: Pen) => readonly Value[] }[] = [
    {
      name: 'a convolution of one pixel after attention',
      draw: (pen) => {
        const { b } = pen
        const mixed = b.transpose(attend(b, pen.tokens), { perm: [0, 2, 1] })
        const map = b.reshape(mixed, b.concat([b.int64([0, WIDTH]), gridShape(pen)], { axis: 0 }))
        const out = b.conv(map, weights(b, [WIDTH, WIDTH, 1, 1], 60), { kernel_shape: [1, 1] })
        return [b.transpose(b.reshape(out, b.int64([0, WIDTH, -1])), { perm: [0, 2, 1] })]
      },
    },
    {
      name: 'a bias on scores that is one number for each head',
      draw: ({ b, tokens }) => [attend(b, tokens, 10, (scores) => b.add(scores, weights(b, [1, HEADS, 1, 1], 71)))],
    },
    {
      name: 'scores of three axes, batch and heads merged',
      draw: ({ b, tokens }) => {
        const merged = (x: Value) =>
          b.reshape(inHeads(b, x), b.concat([b.int64([-1]), length, b.int64([WIDTH / HEADS])], { axis: 0 }))
        const length = b.gather(b.shape(tokens), b.int64([1]), { axis: 0 })
        const scores = b.matMul(
          merged(project(b, tokens, 80)),
          b.transpose(merged(project(b, tokens, 81)), { perm: [0, 2, 1] }),
        )
        const mixed = b.matMul(b.softmax(scores, { axis: -1 }), merged(project(b, tokens, 82)))
        const split = b.reshape(mixed, b.concat([b.int64([-1, HEADS]), length, b.int64([WIDTH / HEADS])], { axis: 0 }))
        return [b.reshape(b.transpose(split, { perm: [0, 2, 1, 3] }), b.int64([0, 0, WIDTH]))]
      },
    },
    {
      name: 'keys on the query axis, their softmax over it and the product turned',
      draw: ({ b, tokens }) => {
        const turned = b.transpose(scoresOf(b, tokens, 83), { perm: [0, 1, 3, 2] })
        const weight = b.transpose(b.softmax(turned, { axis: 2 }), { perm: [0, 1, 3, 2] })
        const mixed = b.matMul(weight, inHeads(b, tokens))
        return [b.reshape(b.transpose(mixed, { perm: [0, 2, 1, 3] }), b.int64([0, 0, WIDTH]))]
      },
    },
    {
      name: 'two blocks, and normalisation over the width',
      draw: ({ b, tokens }) => {
        const scale = b.constant(floatTensor([WIDTH], new Array(WIDTH).fill(1.5)))
        return [b.layerNormalization(attend(b, attend(b, tokens, 10), 90), scale, { axis: -1 })]
      },
    },
  ]

  it.each(fits)('$name', async ({ draw }) => {
    const [original, transformed] = [drawVit(draw), drawVit(draw)]
    runPasses(registry, transformed, ['padproof'])
    const found = await paddedAgainstAlone({ original, transformed }, { y0: ['tokens', 'fixed'] }, sizes)
    expect(found.own).toBeLessThan(1e-5)
    expect(found.padding).toBe(0)
  })
})

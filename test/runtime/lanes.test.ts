import { describe, expect, it, vi } from 'vitest'
import { Gate } from '../../src/runtime/gate.ts'
import { Lanes } from '../../src/runtime/lanes.ts'
import { fixture } from '../support/fixtures.ts'

const path = fixture('vit-p16-g4/ts17-eager-interp.onnx').path

describe('lanes', () => {
  it('take the whole machine for one batch, once that has come up twice', async () => {
    const lanes = await Lanes.open(path, ['cpu'], () => ({ workers: 2, threads: 1, wide: true }), {})
    expect(lanes.count).toBe(2)
    expect(lanes.prefersWide([200, 200])).toBe(false)
    expect(lanes.prefersWide([50])).toBe(false)
    expect(lanes.prefersWide([200])).toBe(false)
    await vi.waitUntil(() => lanes.prefersWide([200]), { timeout: 30_000 })
    const data = new Float32Array(3 * 64 * 64).fill(0.5)
    const feeds = { pixel_values: { type: 'float32' as const, data, dims: [1, 3, 64, 64] } }
    const { outputs } = await lanes.run(feeds, ['pooler_output'], 17, true)
    expect(outputs.pooler_output?.dims).toEqual([1, 32])
    expect(lanes.prefersWide([200, 200, 200, 200])).toBe(false)
    await lanes.close()
  })

  it('never do where that is switched off', async () => {
    const lanes = await Lanes.open(path, ['cpu'], () => ({ workers: 2, threads: 1, wide: false }), {})
    for (let i = 0; i < 3; i++) expect(lanes.prefersWide([500])).toBe(false)
    await lanes.close()
  })
})

describe('a gate', () => {
  it('lets in as many as fit, in order, and one of any size', async () => {
    const gate = new Gate(2, 100)
    const entered: string[] = []
    const enter = (name: string, bytes: number): Promise<void> => gate.enter(bytes).then(() => void entered.push(name))
    await enter('large', 500)
    const waiting = [enter('a', 60), enter('b', 60), enter('c', 10)]
    await Promise.resolve()
    expect(entered).toEqual(['large'])
    gate.leave(500)
    await waiting[0]
    expect(entered).toEqual(['large', 'a'])
    gate.leave(60)
    await Promise.all(waiting.slice(1))
    expect(entered).toEqual(['large', 'a', 'b', 'c'])
  })
})

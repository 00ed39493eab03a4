import { describe, expect, it } from 'vitest'
import type { Feeds } from '../../src/runtime/strategy.ts'
import { ThreadLane } from '../../src/runtime/thread-lane.ts'
import { fixture } from '../support/fixtures.ts'

const path = fixture('vit-p16-g4/ts17-eager-interp.onnx').path

function feeds(side: number): Feeds {
  const data = new Float32Array(3 * side * side).fill(0.5)
  return { pixel_values: { type: 'float32', data, dims: [1, 3, side, side] } }
}

describe('a thread with a session', () => {
  it('runs, and gives the buffers back', async () => {
    const lane = await ThreadLane.open(path, { threads: 1 })
    const given = feeds(64)
    const ran = await lane.run(given, ['pooler_output'])
    expect(ran.outputs.pooler_output?.dims).toEqual([1, 32])
    expect(ran.buffers.map(({ byteLength }) => byteLength)).toEqual([3 * 64 * 64 * 4])
    expect(given.pixel_values?.data).toHaveLength(0)
    await lane.close()
    await expect(lane.run(feeds(64), ['pooler_output'])).rejects.toMatchObject({ code: 'RUNTIME_FAILED' })
  })

  it('tells what fails, and goes on', async () => {
    const lane = await ThreadLane.open(path, { threads: 1 })
    await expect(lane.run(feeds(64), ['nothing'])).rejects.toMatchObject({ code: 'RUNTIME_FAILED' })
    const wrong: Feeds = { pixel_values: { type: 'float32', data: new Float32Array(16), dims: [1, 1, 4, 4] } }
    await expect(lane.run(wrong, ['pooler_output'])).rejects.toThrow(/ONNX Runtime fails/)
    expect(lane.alive).toBe(true)
    expect((await lane.run(feeds(32), ['pooler_output'])).outputs.pooler_output?.dims).toEqual([1, 32])
    await lane.close()
  })

  it('fails what waits when it ends, and whatever comes after', async () => {
    const lane = await ThreadLane.open(path, { threads: 1 })
    const ending = lane.terminate()
    const waiting = [lane.run(feeds(32), ['pooler_output']), lane.run(feeds(64), ['pooler_output'])]
    const settled = Promise.allSettled(waiting)
    await ending
    expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    await expect(waiting[1]).rejects.toThrow(/a thread of the encoder ended/)
    expect(lane.alive).toBe(false)
    await expect(lane.run(feeds(64), ['pooler_output'])).rejects.toMatchObject({ code: 'RUNTIME_FAILED' })
    await lane.close()
  })

  it('says why it does not open', async () => {
    await expect(ThreadLane.open('nowhere.onnx', {})).rejects.toMatchObject({ code: 'RUNTIME_FAILED' })
    await expect(ThreadLane.open(new Uint8Array([1, 2, 3]), {})).rejects.toThrow(/does not open it/)
  })
})

import { describe, expect, it } from 'vitest'
import { bucketFor, readHints } from '../../src/batching/hints.ts'

const hints = {
  version: 1,
  patch: { height: 16, width: 16 },
  prefix: 1,
  buckets: [
    { height: 32, width: 64, batch: 8 },
    { height: 64, width: 64, batch: 4 },
  ],
}

describe('readHints', () => {
  it('reads what was written, with what else stands there', () => {
    expect(readHints(JSON.stringify({ ...hints, more: 1 }))).toEqual({ ...hints, more: 1 })
  })

  it.each([
    undefined,
    '',
    'no JSON',
    'null',
    '[]',
    JSON.stringify({ ...hints, version: 2 }),
    JSON.stringify({ ...hints, patch: { height: 16 } }),
    JSON.stringify({ ...hints, prefix: null }),
    JSON.stringify({ ...hints, buckets: {} }),
    JSON.stringify({ ...hints, buckets: [{ height: 32, width: 64 }] }),
    JSON.stringify({ ...hints, buckets: [{ height: 32, width: -64, batch: 1 }] }),
    JSON.stringify({ ...hints, buckets: [{ height: 32, width: 6.4, batch: 1 }] }),
  ])('takes %s for no hints', (text) => {
    expect(readHints(text)).toBeNull()
  })
})

describe('bucketFor', () => {
  it('gives the first that holds an image in both directions', () => {
    const read = readHints(JSON.stringify(hints))
    if (read === null) throw new Error('the hints were not read')
    expect(bucketFor({ height: 20, width: 64 }, read)?.batch).toBe(8)
    expect(bucketFor({ height: 33, width: 1 }, read)?.batch).toBe(4)
    expect(bucketFor({ height: 33, width: 65 }, read)).toBeUndefined()
  })
})

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { VitpassError } from '../../src/errors.ts'
import type { Image } from '../../src/runtime/index.ts'
import { fixture } from '../support/fixtures.ts'
import { distance, encoderFor, noiseImage, padproof, rowOf } from './encoder.ts'

const path = fixture('vit-p16-g4/ts17-eager-interp.onnx').path
const model = await padproof(path)
const encoder = await encoderFor(model)

/** Each image by itself, in a session on this thread. */
async function oneByOne(images: readonly Image[], source = model): Promise<Float32Array[]> {
  const single = await encoderFor(source, { workers: 0, deduplicate: false })
  const rows: Float32Array[] = []
  for (const image of images) rows.push(rowOf(await single.encode([image]), 0))
  return rows
}

function farthest(encoded: { data: Float32Array; dims: number[] }, rows: readonly Float32Array[]): number {
  return Math.max(...rows.map((row, i) => distance(rowOf(encoded, i), row)))
}

describe('encode', () => {
  it('answers for images of 500 sizes as one by one', async () => {
    const images = Array.from({ length: 1000 }, (_, i) =>
      noiseImage(16 + 3 * (i % 25), 16 + 7 * (Math.floor(i / 25) % 20), i),
    )
    expect(new Set(images.map(({ height, width }) => `${height}x${width}`)).size).toBe(500)
    const encoded = await encoder.encode(images)
    expect(encoded.dims).toEqual([1000, 32])
    expect(farthest(encoded, await oneByOne(images))).toBeLessThan(1e-5)
  })

  it('keeps the shape of nested lists, zeros where there is no image', async () => {
    const [a, b, c] = [noiseImage(32, 48), noiseImage(64, 16), noiseImage(40, 40)]
    const { data, dims } = await encoder.encode([[a, b], [], [null, c, a]])
    expect(dims).toEqual([3, 3, 32])
    const [rowA, rowB, rowC] = await oneByOne([a, b, c])
    const zeros = new Float32Array(32)
    const expected = [rowA, rowB, zeros, zeros, zeros, zeros, zeros, rowC, rowA]
    expect(
      farthest(
        { data, dims: [9, 32] },
        expected.map((row) => row ?? zeros),
      ),
    ).toBeLessThan(1e-5)
    expect([2, 3, 4, 5, 6].every((i) => data.subarray(i * 32, (i + 1) * 32).every((x) => x === 0))).toBe(true)
  })

  it('takes no images, one, and only absent ones', async () => {
    expect((await encoder.encode([])).dims).toEqual([0, 32])
    expect((await encoder.encode([[], []])).dims).toEqual([2, 0, 32])
    expect((await encoder.encode([null, null])).data).toEqual(new Float32Array(64))
    const one = noiseImage(64, 64)
    expect(farthest(await encoder.encode([one]), await oneByOne([one]))).toBeLessThan(1e-5)
  })

  it('keeps a black image, and black rows and columns', async () => {
    const [black, edge] = [noiseImage(48, 64), noiseImage(48, 64)]
    black.data.fill(0)
    edge.data.subarray(16 * 64).fill(0)
    edge.data.subarray(0, 16 * 64).fill(0)
    const original = await encoderFor(path)
    const alone = await original.encode([black, edge])
    const encoded = await encoder.encode([edge, noiseImage(64, 64), black])
    expect(distance(rowOf(encoded, 2), rowOf(alone, 0))).toBeLessThan(1e-5)
    expect(distance(rowOf(encoded, 0), rowOf(alone, 1))).toBeLessThan(1e-5)
  })

  it('reads an iterable in windows and gives rows in order', async () => {
    const small = await encoderFor(model, { maxBytes: 200_000 })
    let read = 0
    let taken = 0
    let ahead = 0
    const images = Array.from({ length: 300 }, (_, i) => (i % 50 === 7 ? null : noiseImage(16 + 16 * (i % 3), 32, i)))
    async function* source(): AsyncGenerator<Image | null> {
      for (const image of images) {
        read += 1
        ahead = Math.max(ahead, read - taken)
        yield image
      }
    }
    const expected = await encoder.encode(images)
    const far: number[] = []
    for await (const row of small.encode(source())) far.push(distance(row, rowOf(expected, taken++)))
    expect(far).toHaveLength(300)
    expect(Math.max(...far)).toBeLessThan(1e-5)
    // Three windows of 100 kB, of images that hold 6 to 18 kB.
    expect(ahead).toBeLessThan(60)
  })

  it('takes the model as bytes, and runs on the caller thread where asked', async () => {
    const images = [noiseImage(32, 32), noiseImage(64, 48), noiseImage(64, 48, 5)]
    const [threads, local] = [
      await encoderFor(readFileSync(model)),
      await encoderFor(readFileSync(model), { workers: 0 }),
    ]
    const expected = await oneByOne(images)
    expect(farthest(await threads.encode(images), expected)).toBeLessThan(1e-5)
    expect(farthest(await local.encode(images), expected)).toBeLessThan(1e-5)
  })

  it('takes several calls at once', async () => {
    const lists = Array.from({ length: 6 }, (_, k) =>
      Array.from({ length: 5 }, (_, i) => noiseImage(32 + 16 * (i % 3), 48, k * 10 + i)),
    )
    const all = await Promise.all(lists.map((list) => encoder.encode(list)))
    for (const [k, list] of lists.entries()) {
      expect(farthest(all[k] ?? expect.fail(), await oneByOne(list))).toBeLessThan(1e-5)
    }
  })

  it('takes another output by name', async () => {
    const tokens = await encoderFor(model, { output: 'last_hidden_state' })
    const original = await encoderFor(path, { output: 'last_hidden_state' })
    const images = [noiseImage(32, 80), noiseImage(64, 64), noiseImage(41, 63)]
    const alone = await original.encode(images)
    expect(
      farthest(
        await tokens.encode(images),
        [0, 1, 2].map((i) => rowOf(alone, i)),
      ),
    ).toBeLessThan(1e-5)
    await expect(encoderFor(model, { output: 'nothing' })).rejects.toThrow(/no float output is named nothing/)
  })
})

describe('encodePadded', () => {
  it('cuts each image to its own size', async () => {
    const images = [noiseImage(32, 48), noiseImage(64, 16), noiseImage(41, 63)]
    const data = new Float32Array(4 * 3 * 64 * 64).fill(7)
    for (const [i, { data: pixels, height, width }] of images.entries()) {
      for (let row = 0; row < 3 * height; row++) {
        const [c, y] = [Math.floor(row / height), row % height]
        data.set(pixels.subarray(row * width, (row + 1) * width), ((i * 3 + c) * 64 + y) * 64)
      }
    }
    const sizes = [...images.flatMap(({ height, width }) => [height, width]), 0, 0]
    const expected = await oneByOne(images)
    const flat = await encoder.encodePadded(data, [4, 3, 64, 64], sizes)
    expect(flat.dims).toEqual([4, 32])
    expect(farthest(flat, expected)).toBeLessThan(1e-5)
    expect(rowOf(flat, 3).every((x) => x === 0)).toBe(true)
    const nested = await encoder.encodePadded(data, [2, 2, 3, 64, 64], BigInt64Array.from(sizes, BigInt))
    expect(nested.dims).toEqual([2, 2, 32])
    expect(nested.data).toEqual(flat.data)
  })

  it('refuses sizes that do not fit', async () => {
    const data = new Float32Array(2 * 3 * 32 * 32).fill(1)
    await expect(encoder.encodePadded(data, [2, 3, 32, 33], [1, 1, 1, 1])).rejects.toThrow(/do not make up/)
    await expect(encoder.encodePadded(data, [2, 3, 32, 32], [32, 32])).rejects.toThrow(/2 lengths for 2 images/)
    await expect(encoder.encodePadded(data, [2, 3, 32, 32], [32, 32, 33, 32])).rejects.toThrow(/33x32/)
    await expect(encoder.encodePadded(data, [2, 3, 32, 32], [32, 32, 0, 32])).rejects.toThrow(/0x32/)
  })
})

describe('images that cannot be encoded', () => {
  const good = [noiseImage(32, 48), noiseImage(64, 64)]
  const broken = (value: number): Image => {
    const image = noiseImage(32, 32)
    image.data[1500] = value
    return image
  }
  const bad: readonly [string, Image, RegExp][] = [
    ['NaN', broken(Number.NaN), /NaN at channel 1, row 14, column 28/],
    ['infinity', broken(Number.NEGATIVE_INFINITY), /-Infinity at/],
    ['channels', noiseImage(32, 32, 1, 1), /1 channels where the model takes 3/],
    ['an empty image', { data: new Float32Array(0), channels: 3, height: 0, width: 32 }, /height is 0/],
    ['a length that is none', { ...noiseImage(32, 32), width: 32.5 }, /width is 32.5/],
    ['missing pixels', { ...noiseImage(32, 32), width: 48 }, /3072 numbers instead of 3 x 32 x 48/],
    ['less than a patch', noiseImage(15, 64), /smaller than a patch of 16x16/],
    [
      'a giant',
      { data: new Float32Array(3 * 16 * 300_000), channels: 3, height: 16, width: 300_000 },
      /more than 4194304 pixels/,
    ],
  ]
  it.each(bad)('%s: names the image', async (_, image, reason) => {
    const error = await encoder.encode([good[0] ?? null, image]).catch((thrown: unknown) => thrown)
    if (!(error instanceof VitpassError)) throw error
    expect(error.code).toBe('BAD_IMAGE')
    expect(error.where).toBe('image 1')
    expect(error.message).toMatch(reason)
    expect(error.remedy).toMatch(/./)
  })

  it('reports them where asked, and loses nothing else', async () => {
    const reporting = await encoderFor(model, { onError: 'report' })
    const images = [good[0] ?? null, ...bad.map(([, image]) => image), good[1] ?? null]
    const { data, dims, errors } = await reporting.encode(images)
    expect(errors.map(({ index }) => index)).toEqual(bad.map((_, i) => i + 1))
    for (const [i, [, , reason]] of bad.entries()) expect(errors[i]?.error.message).toMatch(reason)
    const [first, last] = await oneByOne(good)
    expect(
      farthest(
        { data: Float32Array.from([...data.slice(0, 32), ...data.slice(-32)]), dims },
        [first, last].map((row) => row ?? expect.fail()),
      ),
    ).toBeLessThan(1e-5)
    const stream = reporting.encode(images.values())
    let count = 0
    for await (const _ of stream) count += 1
    expect(count).toBe(images.length)
    expect(stream.errors.map(({ index }) => index)).toEqual(bad.map((_, i) => i + 1))
    const nested = await reporting.encode([[null], [good[0] ?? null, bad[0]?.[1] ?? null]])
    expect(nested.errors[0]?.error.where).toBe('image 1,1')
  })

  it('finds the one that the model itself refuses', async () => {
    const fixedSize = fixture('vit-p16-g4/ts14-eager-names.onnx').path
    const reporting = await encoderFor(fixedSize, { onError: 'report' })
    const images = [noiseImage(64, 64), noiseImage(32, 32), noiseImage(64, 64, 9), noiseImage(32, 32, 8)]
    const { errors, data } = await reporting.encode(images)
    expect(errors.map(({ index, error }) => [index, error.code])).toEqual([
      [1, 'RUNTIME_FAILED'],
      [3, 'RUNTIME_FAILED'],
    ])
    expect(data.subarray(64, 96).some((x) => x !== 0)).toBe(true)
    const throwing = await encoderFor(fixedSize)
    await expect(throwing.encode(images)).rejects.toMatchObject({
      code: 'RUNTIME_FAILED',
      where: expect.stringMatching(/image [13]/),
    })
    expect(farthest(await throwing.encode(images.slice(0, 1)), [data.subarray(0, 32)])).toBeLessThan(1e-5)
  })
})

describe('equal images', () => {
  it('are encoded once, and told apart where they only look alike', async () => {
    const image = noiseImage(32, 48)
    const other = { ...image, data: image.data.slice() }
    other.data[3] = 0.25
    const same = { ...image, data: image.data.slice() }
    const encoded = await encoder.encode([image, other, same, image])
    expect(farthest(encoded, await oneByOne([image, other, same, image]))).toBeLessThan(1e-5)
    expect(rowOf(encoded, 2)).toEqual(rowOf(encoded, 0))
  })

  it('come from the cache in a later call', async () => {
    const caching = await encoderFor(model, { cacheBytes: 100_000, workers: 0 })
    const image = noiseImage(160, 160)
    const first = await caching.encode([image])
    first.data.fill(3)
    const again = await caching.encode([{ ...image, data: image.data.slice() }, noiseImage(160, 160, 4)])
    expect(farthest(again, await oneByOne([image, noiseImage(160, 160, 4)]))).toBeLessThan(1e-5)
  })
})

describe('open and close', () => {
  it('says which provider runs, and why others do not', async () => {
    const fallen = await encoderFor(model, { providers: ['nosuch', 'cpu'], workers: 1 })
    expect(fallen.provider).toBe('cpu')
    expect(fallen.reasons).toEqual([{ provider: 'nosuch', reason: expect.stringMatching(/./) }])
    await expect(encoderFor(model, { providers: ['nosuch'] })).rejects.toThrow(/no provider runs the model \(nosuch: /)
  })

  it('refuses what is no encoder of images', async () => {
    await expect(encoderFor('nowhere.onnx')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    await expect(encoderFor(new Uint8Array([1, 2, 3]))).rejects.toMatchObject({ code: 'NOT_ONNX' })
    await expect(encoderFor(model, { workers: -1 })).rejects.toMatchObject({ code: 'BAD_OPTION' })
  })

  it('ends with close, after what runs', async () => {
    const short = await encoderFor(model)
    const running = short.encode([noiseImage(32, 32), noiseImage(64, 64)])
    await short.close()
    expect((await running).dims).toEqual([2, 32])
    await expect(short.encode([noiseImage(32, 32)])).rejects.toMatchObject({ code: 'USAGE' })
    await short.close()
  })
})

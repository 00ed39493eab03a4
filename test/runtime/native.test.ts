import { describe, expect, it } from 'vitest'
import { ImageEncoder } from '../../src/runtime/encoder.ts'
import type { Image } from '../../src/runtime/image.ts'
import {
  expectedRow,
  goldenImages,
  type NativeExport,
  nativeExport,
  nativeExports,
  pooledOutput,
} from './native-run.ts'

const right = nativeExports().filter(({ entry }) => entry.knownWrong === undefined)

/** Largest difference of rows to PyTorch's answers for the images of `order`, each alone. */
async function worst(found: NativeExport, data: Float32Array, order: readonly number[]): Promise<number> {
  const output = await pooledOutput(found.path)
  const wanted = order.flatMap((index) => expectedRow(found, output, index))
  if (wanted.length !== data.length) return Number.POSITIVE_INFINITY
  return Math.max(...wanted.map((value, i) => Math.abs(value - (data[i] ?? Number.NaN))))
}

async function withEncoder<T>(path: string, use: (encoder: ImageEncoder) => Promise<T>, workers = 0): Promise<T> {
  const encoder = await ImageEncoder.open(path, { workers, threads: 1, deduplicate: false, onError: 'report' })
  try {
    return await use(encoder)
  } finally {
    await encoder.close()
  }
}

describe.each(right)('$name', (found) => {
  const images = goldenImages(found.goldenCase)
  const pick = (order: readonly number[]): Image[] => order.flatMap((index) => images[index] ?? [])
  const all = images.map((_, index) => index)
  const tolerance = found.goldenCase.tolerance[found.entry.precision]

  it('answers each image as PyTorch does alone, in any company and order', async () => {
    await withEncoder(found.path, async (encoder) => {
      expect(encoder.strategy.kind).toBe('native')
      const orders = [all, all.toReversed(), ...all.map((index) => [index]), [...all, ...all, ...all, 2, 0, 1, 1, 3]]
      for (const order of orders) {
        const { data, errors } = await encoder.encode(pick(order))
        expect(errors).toEqual([])
        expect(await worst(found, data, order), order.join(' ')).toBeLessThan(tolerance)
      }
    })
  })

  it('leaves rows and columns beyond the last whole patch out', async () => {
    const ragged = (image: Image, width = image.width + 3): Image => {
      const data = new Float32Array(image.channels * image.height * width).fill(7)
      for (let y = 0; y < image.channels * image.height; y++) {
        data.set(image.data.subarray(y * image.width, (y + 1) * image.width), y * width)
      }
      return { ...image, data, width }
    }
    await withEncoder(found.path, async (encoder) => {
      const { data } = await encoder.encode([...pick([1]).map((image) => ragged(image)), ...pick([0])])
      expect(await worst(found, data, [1, 0])).toBeLessThan(tolerance)
    })
  })
})

describe('an encoder of a native model', () => {
  const found = nativeExport('navit-p4-g6/dynamo20-packed.onnx')
  const images = goldenImages(found.goldenCase)

  it('names an image whose grid is beyond the positions, and loses no other', async () => {
    const large = { data: new Float32Array(3 * 8 * 28).fill(0.5), channels: 3, height: 8, width: 28 }
    await withEncoder(found.path, async (encoder) => {
      const { data, errors } = await encoder.encode([...images.slice(0, 2), large, ...images.slice(2)])
      expect(errors.map(({ index, error }) => [index, error.code, error.where])).toEqual([[2, 'BAD_IMAGE', 'image 2']])
      expect(errors[0]?.error.message).toMatch(/2x7 patches are more than the 6x6/)
      const features = data.length / (images.length + 1)
      const others = Float32Array.from([...data.subarray(0, 2 * features), ...data.subarray(3 * features)])
      const order = images.map((_, index) => index)
      expect(await worst(found, others, order)).toBeLessThan(1e-4)
    })
  })

  it('works on threads', async () => {
    const order = Array.from({ length: 60 }, (_, i) => (i * 7) % images.length)
    const encode = async (encoder: ImageEncoder): Promise<void> => {
      const { data } = await encoder.encode(order.flatMap((index) => images[index] ?? []))
      expect(await worst(found, data, order)).toBeLessThan(1e-4)
    }
    await withEncoder(found.path, encode, 2)
  })

  it('puts rows where images are in nested lists', async () => {
    await withEncoder(found.path, async (encoder) => {
      const [a, b, c] = images
      const { data, dims } = await encoder.encode([[a ?? null, null, b ?? null], [], [c ?? null]])
      expect(dims.slice(0, 2)).toEqual([3, 3])
      const features = dims[2] ?? 0
      const row = (i: number): Float32Array => data.slice(i * features, (i + 1) * features)
      for (const [place, index] of [
        [0, 0],
        [2, 1],
        [6, 2],
      ] as const) {
        expect(await worst(found, row(place), [index])).toBeLessThan(1e-4)
      }
      for (const place of [1, 3, 4, 5, 7, 8]) expect(row(place).every((x) => x === 0)).toBe(true)
    })
  })

  it('is not opened where sizes are baked', async () => {
    const { path } = nativeExport('pixtral-p4-g6/ts17-image-sizes-tokens-bare.onnx')
    await expect(ImageEncoder.open(path, { workers: 0 })).rejects.toThrow(/does not run on images of 8x12/)
  })
})

import { describe, expect, it } from 'vitest'
import type { Image } from '../../src/runtime/image.ts'
import { expectedRow, goldenImages, type NativeExport, NativeRun, nativeExports } from './native-run.ts'

const right = nativeExports().filter(({ entry }) => entry.knownWrong === undefined)

/** Largest difference of a row to PyTorch's answer for that image alone. */
function worst(found: NativeExport, run: NativeRun, rows: readonly Float32Array[], order: readonly number[]): number {
  const [output = ''] = run.strategy.outputs
  return Math.max(
    ...order.map((index, at) => {
      const row = rows[at]
      const wanted = expectedRow(found, output, index)
      if (row?.length !== wanted.length) return Number.POSITIVE_INFINITY
      return Math.max(...wanted.map((value, f) => Math.abs(value - (row[f] ?? Number.NaN))))
    }),
  )
}

describe.each(right)('$name', (found) => {
  const images = goldenImages(found.goldenCase)
  const pick = (order: readonly number[]): Image[] => order.flatMap((index) => images[index] ?? [])
  const all = images.map((_, index) => index)

  it('answers each image as PyTorch does alone, in any company and order', async () => {
    const run = await NativeRun.open(found.path)
    try {
      await run.check()
      const orders = [all, all.toReversed(), ...all.map((index) => [index]), [...all, ...all.toReversed(), 2, 0, 1]]
      for (const order of orders) {
        expect(worst(found, run, await run.encode(pick(order)), order), order.join(' ')).toBeLessThan(1e-4)
      }
    } finally {
      await run.close()
    }
  })

  it('leaves rows and columns beyond the last whole patch out', async () => {
    const run = await NativeRun.open(found.path)
    try {
      const [image] = images
      if (image === undefined) throw new Error('no image')
      const width = image.width + 3
      const data = new Float32Array(image.channels * image.height * width).fill(7)
      for (let y = 0; y < image.channels * image.height; y++) {
        data.set(image.data.subarray(y * image.width, (y + 1) * image.width), y * width)
      }
      expect(worst(found, run, await run.encode([{ ...image, data, width }, ...pick([1])]), [0, 1])).toBeLessThan(1e-4)
    } finally {
      await run.close()
    }
  })
})

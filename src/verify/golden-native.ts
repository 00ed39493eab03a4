import { ImageEncoder } from '../runtime/encoder.ts'
import type { Image } from '../runtime/image.ts'
import type { Dense } from '../runtime/session.ts'
import type { ExportEntry, GoldenCase } from './golden-case.ts'
import { type Measured, measure, unitsOf } from './measure.ts'

/** The images of a case as the encoder takes them. */
export function goldenImages({ images, channels }: GoldenCase): Image[] {
  return images.map(({ pixels, height, width }) => ({ data: pixels.data, channels, height, width }))
}

/** What the model answers for an image alone, [features]: its tokens averaged where the golden holds tokens. */
export function expectedRow(goldenCase: GoldenCase, entry: ExportEntry, output: string, index: number): Dense {
  const { data, dims } = goldenCase.expected(entry.outputs[output] ?? output, index)
  const features = dims.at(-1) ?? 1
  const tokens = data.length / features
  const row = Float32Array.from({ length: features }, (_, f) => {
    let sum = 0
    for (let t = 0; t < tokens; t++) sum += data[t * features + f] ?? 0
    return sum / tokens
  })
  return { data: row, dims: [features] }
}

/**
 * Measures a model that takes images of any size by itself: what the encoder gives for each image, in any order and alone.
 * @param path of the untouched export
 */
export async function checkNativeRows(
  path: string,
  goldenCase: GoldenCase,
  entry: ExportEntry,
  providers: readonly string[],
): Promise<Measured[]> {
  const images = goldenImages(goldenCase)
  const all = images.map((_, index) => index)
  const orders = { golden: [all], order: [all.toReversed()], companions: all.map((index) => [index]) }
  let encoder: ImageEncoder
  try {
    encoder = await ImageEncoder.open(path, { providers, workers: 0, threads: 1, deduplicate: false })
  } catch (error) {
    return [await measure('opens', 0, () => Promise.reject(error))]
  }
  try {
    const measured: Measured[] = []
    for (const [name, lists] of Object.entries(orders)) {
      const compared = await measure(name, goldenCase.tolerance[entry.precision], async (worst) => {
        for (const order of lists) {
          const { data, dims } = await encoder.encode(order.flatMap((index) => images[index] ?? []))
          const features = dims.at(-1) ?? 0
          order.forEach((index, at) => {
            const wanted = expectedRow(goldenCase, entry, encoder.output, index)
            const row = { data: data.slice(at * features, (at + 1) * features), dims: [features] }
            const of = goldenCase.images[index]?.tags.join(' ') ?? ''
            worst.compare(row, wanted, { name: encoder.output, of }, goldenCase.relative ? unitsOf(wanted) : undefined)
          })
        }
      })
      measured.push(compared)
    }
    return measured
  } finally {
    await encoder.close()
  }
}

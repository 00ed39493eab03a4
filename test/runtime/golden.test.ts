import { describe, expect, it } from 'vitest'
import { distance, encoderFor, expectedRow, exportOf, goldenCase, imagesOf, padproof, rowOf } from './encoder.ts'

/** Exports of every family, transformed here. */
const MASKED = [
  ['vit-p16-g4', 'ts17-eager-interp.onnx'],
  ['vit-p16-g4', 'ts14-sdpa-static.onnx'],
  ['vit-p16-g4', 'optimum14-sdpa-names-t4.onnx'],
  ['deit-p16-g4', null],
  ['dinov2-p14-g5', 'ts17-eager-interp.onnx'],
  ['clip-p16-g4', 'dynamo18-sdpa-interp.onnx'],
  ['clip-embeds-p14-g4', 'ts17-eager-interp.onnx'],
  ['siglip2-fixed-p8-g14', null],
  ['timm-map-p16-g4', null],
  ['ijepa-cls-p8-g5', null],
  ['vit-p8-g4-hidden', null],
  ['vit-p8-g4-fp16', null],
] as const

describe('masked', () => {
  for (const [name, file] of MASKED) {
    const found = goldenCase(name)
    const entry = found.models.find((model) => file === null || model.file.endsWith(`/${file}`)) ?? expect.fail(name)
    const path = exportOf(found, entry.file.split('/').at(-1) ?? '')
    it.each(['pixels', 'sizes'])(
      `${name}/${file ?? 'first'} gives each image PyTorch's answer, told by %s`,
      async (source) => {
        const encoder = await encoderFor(await padproof(path, { ...entry.options, mask: { source } }))
        expect(encoder.strategy.kind).toBe('masked')
        const images = imagesOf(found)
        const encoded = await encoder.encode([...images, null, ...images.toReversed()])
        expect(encoded.dims).toEqual([2 * images.length + 1, encoded.dims[1]])
        const features = encoded.dims[1] ?? 0
        const far = images.flatMap((_, i) => {
          const expected = expectedRow(found, encoder.output, i, features)
          return [distance(rowOf(encoded, i), expected), distance(rowOf(encoded, 2 * images.length - i), expected)]
        })
        expect(Math.max(...far)).toBeLessThan(found.tolerance[entry.precision])
        expect(rowOf(encoded, images.length).every((x) => x === 0)).toBe(true)
      },
    )
  }
})

/** Untouched exports of networks that no mask can make padding-proof, and of some that one could. */
const GROUPED = [
  ['refuse-convnext', 'ts17-eager-names-interp.onnx'],
  ['refuse-resnet', 'ts17-eager-names-interp.onnx'],
  ['refuse-mobilevit', 'ts17-eager-names-interp.onnx'],
  ['refuse-swinv2', 'ts17-eager-names-interp.onnx'],
  ['refuse-convnext', 'ts14-eager-static.onnx'],
  ['refuse-pvt', 'ts14-eager-static.onnx'],
  ['refuse-beit-p16-g4', null],
  ['vit-p16-g4', 'ts11-eager-interp-b2.onnx'],
  ['vit-p16-g4', 'dynamo18-sdpa-interp.onnx'],
  ['dinov2reg-p14-g5', 'dynamo23-sdpa-static-b2.onnx'],
  ['dense-dinov2-p14-g5', 'ts17-eager-interp.onnx'],
] as const

describe('grouped', () => {
  for (const [name, file] of GROUPED) {
    const found = goldenCase(name)
    const entry = found.models.find((model) => file === null || model.file.endsWith(`/${file}`)) ?? expect.fail(name)
    it(`${name}/${file ?? 'first'} gives each image PyTorch's answer`, async () => {
      const encoder = await encoderFor(exportOf(found, entry.file.split('/').at(-1) ?? ''))
      expect(encoder.strategy.kind).toBe('grouped')
      const right = entry.rightAlone
      const images = imagesOf(found).filter((_, i) => right.includes(i))
      // Three copies of the first, so that a batch and its last part are made.
      const encoded = await encoder.encode([...images, ...images.slice(0, 1), ...images])
      const features = encoded.dims[1] ?? 0
      const order = [...right, ...right.slice(0, 1), ...right]
      const far = order.map((golden, i) =>
        distance(rowOf(encoded, i), expectedRow(found, encoder.output, golden, features)),
      )
      expect(far.length).toBeGreaterThan(2)
      expect(Math.max(...far)).toBeLessThan(found.tolerance[entry.precision])
    })
  }
})

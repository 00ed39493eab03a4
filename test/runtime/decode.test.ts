import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { VitpassError } from '../../src/errors.ts'
import { type DecodeOptions, decodeImage } from '../../src/runtime/decode.ts'
import { expectedImage, farthest, IMAGES, imageCases } from '../support/images.ts'

const file = (name: string): string => join(IMAGES, name)

/** Transparency is blended with another rounding: one step of 255. */
const ROUNDING: Readonly<Record<string, number>> = { 'alpha.png': 1, 'grey-alpha.png': 1 }

async function errorOf(source: string | Uint8Array, options?: DecodeOptions): Promise<VitpassError> {
  const error: unknown = await decodeImage(source, options).catch((thrown: unknown) => thrown)
  if (error instanceof VitpassError) return error
  throw new Error('no VitpassError was thrown', { cause: error })
}

describe('decodeImage', () => {
  it.each(imageCases.decoded)('sees %s as Pillow and transformers do', async (name) => {
    const expected = expectedImage(`decoded.${name}`)
    const { data, height, width, channels } = await decodeImage(file(name))
    expect([height, width, channels]).toEqual(expected.dims)
    expect(farthest(data, expected.data)).toBeLessThanOrEqual(ROUNDING[name] ?? 0)
  })

  it('brings 16 bits of grey to 8, three times', async () => {
    const { data } = await decodeImage(file('deep-grey.png'))
    const { data: colours } = await decodeImage(file('plain.png'))
    expect(Array.from(data)).toEqual(Array.from(colours, (_, i) => colours[i - (i % 3)]))
  })

  it('gives one channel where it is asked to', async () => {
    const { data, height, width, channels } = await decodeImage(file('grey.jpg'), { channels: 1 })
    const { data: three } = expectedImage('decoded.grey.jpg')
    expect(channels).toBe(1)
    expect(data).toHaveLength(height * width)
    expect(Array.from(data)).toEqual(Array.from(data, (_, i) => three[i * 3]))
  })

  it('lays transparency over the colour that it is given', async () => {
    const { data } = await decodeImage(file('alpha.png'), { background: [10, 20, 30] })
    expect(Array.from(data.slice(0, 3))).toEqual([10, 20, 30])
  })

  it('takes bytes as well as a path', async () => {
    const { data } = await decodeImage(new Uint8Array(readFileSync(file('plain.png'))))
    expect(farthest(data, expectedImage('decoded.plain.png').data)).toBe(0)
  })

  it.each([
    ['cut.jpg', 'IMAGE_UNREADABLE', /damaged/],
    ['no-image.jpg', 'IMAGE_UNREADABLE', /no image/],
    ['bomb.png', 'IMAGE_TOO_LARGE', /more than 268402689 pixels/],
    ['absent.png', 'FILE_NOT_FOUND', /no such file/],
    ['.', 'FILE_UNREADABLE', /EISDIR/],
  ])('refuses %s by name', async (name, code, message) => {
    const error = await errorOf(file(name))
    expect(error.code).toBe(code)
    expect(error.message).toMatch(message)
    expect(error.where).toBe(file(name))
  })

  it('keeps to the limit of pixels that it is given, and calls the image what it is told', async () => {
    const error = await errorOf(file('plain.png'), { pixelLimit: 1000, name: 'the first' })
    expect(error.line()).toMatch(/^the first: it says that it has more than 1000 pixels; /)
  })

  it('refuses no bytes at all', async () => {
    expect((await errorOf(new Uint8Array())).code).toBe('IMAGE_UNREADABLE')
  })
})

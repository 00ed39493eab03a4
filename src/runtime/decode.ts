import type { Sharp } from 'sharp'
import { VitpassError } from '../errors.ts'
import type { Raster } from './resample.ts'

/** The most pixels that an image may have if no limit is given: sharp's own limit, 16383 x 16383. */
export const PIXEL_LIMIT = 0x3fff * 0x3fff

export interface DecodeOptions {
  /** 3 (default): red, green, blue; grey images have three equal ones. 1: grey. */
  readonly channels?: 1 | 3
  /** Images with more pixels than this are refused before they are decoded. Default `PIXEL_LIMIT`. */
  readonly pixelLimit?: number
  /** What shows through transparent pixels, 0 to 255. Default white, as in transformers 5. */
  readonly background?: readonly [number, number, number]
  /** What to call the image in errors. Default: the path. */
  readonly name?: string
}

type SharpFactory = typeof import('sharp').default

/**
 * Decodes an image file, or its bytes, to bytes [height, width, channels]: turned as its EXIF orientation says, transparency laid over the
 * background, 16 bits brought to 8, colour profiles left out of account (as Pillow does), the first picture of an animation.
 * @throws VitpassError FILE_NOT_FOUND; FILE_UNREADABLE; IMAGE_UNREADABLE for what is no image, or is damaged; IMAGE_TOO_LARGE for more pixels
 * than the limit, decoded or not; RUNTIME_MISSING where sharp is not installed
 */
export async function decodeImage(source: string | Uint8Array, options: DecodeOptions = {}): Promise<Raster> {
  const sharp = await loadSharp()
  const { channels = 3, pixelLimit = PIXEL_LIMIT, background = [255, 255, 255] } = options
  const where = options.name ?? (typeof source === 'string' ? source : 'image')
  const [r, g, b] = background
  try {
    const bytes = typeof source === 'string' ? await readFileBytes(source) : source
    const input: Sharp = sharp(bytes, { limitInputPixels: pixelLimit, ignoreIcc: true })
    const { data, info } = await input
      .rotate()
      .flatten({ background: { r, g, b } })
      .toColourspace(channels === 1 ? 'b-w' : 'srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    return withChannels({ data: new Uint8Array(data.buffer, data.byteOffset, data.length), ...sizeOf(info) }, channels)
  } catch (cause) {
    throw decodeError(cause, where, pixelLimit)
  }
}

/** sharp would take some paths for something else; a file's bytes are what they are. */
async function readFileBytes(path: string): Promise<Uint8Array> {
  const { readFile } = await import('node:fs/promises')
  return readFile(path)
}

function sizeOf(info: { height: number; width: number; channels: number }): Omit<Raster, 'data'> {
  return { height: info.height, width: info.width, channels: info.channels }
}

/** sharp gives grey pictures one channel or three as it sees fit. */
function withChannels(raster: Raster, wanted: 1 | 3): Raster {
  const { data, height, width, channels } = raster
  if (channels === wanted) return raster
  const pixels = height * width
  const out = new Uint8Array(pixels * wanted)
  for (let i = 0; i < pixels; i++) {
    const value = data[i * channels] ?? 0
    for (let channel = 0; channel < wanted; channel++) out[i * wanted + channel] = value
  }
  return { data: out, height, width, channels: wanted }
}

let loading: Promise<SharpFactory> | undefined

function loadSharp(): Promise<SharpFactory> {
  loading ??= import('sharp').then(
    (module) => module.default,
    (cause: unknown) => {
      const why = cause instanceof Error ? (cause.message.split('\n', 1)[0] ?? '') : String(cause)
      throw new VitpassError('RUNTIME_MISSING', `decoding images needs sharp, which cannot be loaded (${why})`, {
        remedy: '`npm install sharp` installs it',
        cause,
      })
    },
  )
  return loading
}

function decodeError(cause: unknown, where: string, pixelLimit: number): VitpassError {
  if (cause instanceof VitpassError) return cause
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  const message = cause instanceof Error ? cause.message.replace(/\s+/g, ' ').trim() : String(cause)
  if (code === 'ENOENT') {
    return new VitpassError('FILE_NOT_FOUND', 'there is no such file', { where, remedy: 'check the path', cause })
  }
  if (code !== undefined) {
    return new VitpassError('FILE_UNREADABLE', `the file cannot be read (${String(code)})`, { where, cause })
  }
  if (/exceeds pixel limit/.test(message)) {
    return new VitpassError('IMAGE_TOO_LARGE', `it says that it has more than ${pixelLimit} pixels`, {
      where,
      remedy: 'make it smaller, or raise the limit if you trust it',
      cause,
    })
  }
  const what = /unsupported image format/.test(message) ? 'this is no image that can be read' : 'the image is damaged'
  return new VitpassError('IMAGE_UNREADABLE', `${what} (${message})`, {
    where,
    remedy: 'replace it or leave it out',
    cause,
  })
}

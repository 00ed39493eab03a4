import { type Dirent, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Metadata } from 'sharp'
import { VitpassError } from '../errors.ts'

/** Height and width in pixels, as the image is to be seen. */
export interface ImageSize {
  readonly path: string
  readonly height: number
  readonly width: number
}

export interface FolderSizes {
  readonly images: readonly ImageSize[]
  /** Files that look like images by their name and are none. */
  readonly unreadable: readonly { readonly path: string; readonly reason: string }[]
}

/** What an image file is called. */
const IMAGE_NAME = /\.(jpe?g|jpe|jfif|png|webp|tiff?|gif|avif|heif|heic)$/i

/** Files looked into at a time: enough to keep sharp's threads busy. */
const AT_A_TIME = 16

/**
 * Reads the sizes of all images in a folder and the folders below it off their headers; no pixel is decoded. An image that its EXIF
 * orientation lays on its side has height and width as it is to be seen. Of animations the size of one frame counts.
 * @param onProgress told how many files are done, of how many
 * @throws VitpassError FILE_UNREADABLE where the folder cannot be listed; RUNTIME_MISSING where sharp is not installed
 */
export async function readImageSizes(
  folder: string,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<FolderSizes> {
  const paths = list(folder)
    .filter((entry) => !entry.isDirectory() && IMAGE_NAME.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
  const readHeader = paths.length === 0 ? null : await loadHeaderReader()
  const found = new Map<string, ImageSize | string>()
  const left = paths.values()
  const work = async (): Promise<void> => {
    for (const path of left) {
      found.set(path, readHeader === null ? '' : await sizeOf(path, readHeader))
      onProgress(found.size, paths.length)
    }
  }
  await Promise.all(Array.from({ length: AT_A_TIME }, work))
  const images: ImageSize[] = []
  const unreadable: { path: string; reason: string }[] = []
  for (const path of paths) {
    const size = found.get(path)
    if (typeof size === 'object') images.push(size)
    else unreadable.push({ path, reason: size ?? '' })
  }
  return { images, unreadable }
}

function list(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    throw new VitpassError('FILE_UNREADABLE', `the folder cannot be listed (${code})`, {
      where: folder,
      remedy: 'check its permissions',
      cause,
    })
  }
}

type HeaderReader = (path: string) => Promise<Metadata>

async function loadHeaderReader(): Promise<HeaderReader> {
  try {
    const { default: sharp } = await import('sharp')
    return (path) => sharp(path).metadata()
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split('\n', 1)[0] ?? '') : String(cause)
    throw new VitpassError('RUNTIME_MISSING', `reading image files needs sharp, which cannot be loaded (${why})`, {
      remedy: '`npm install sharp` installs it; or give the sizes as JSON or CSV',
      cause,
    })
  }
}

/** From this EXIF orientation on, rows of the file are columns of the picture. */
const ON_ITS_SIDE = 5

/** The size, or why it cannot be read. */
async function sizeOf(path: string, readHeader: HeaderReader): Promise<ImageSize | string> {
  try {
    const { width, height, pageHeight = height, orientation = 1 } = await readHeader(path)
    if (!(width > 0 && pageHeight > 0)) return 'its header tells no size'
    return orientation >= ON_ITS_SIDE ? { path, height: width, width: pageHeight } : { path, height: pageHeight, width }
  } catch (cause) {
    return cause instanceof Error ? cause.message.replace(/\s+/g, ' ').trim() : String(cause)
  }
}

import { createReadStream, type Stats, statSync } from 'node:fs'
import { extname, join } from 'node:path'

import { VitpassError } from '../errors.ts'
import { entriesOf, isPattern, matchFiles } from './glob.ts'
import { readLines } from './lines.ts'
import { STDIN } from './print.ts'

/** Files in a folder that count as images. A file that is named itself is always tried. */
const IMAGES = new Set(['.jpg', '.jpeg', '.jpe', '.png', '.webp', '.gif', '.tif', '.tiff', '.avif'])

/** Files that hold paths, one a line. */
const LISTS = new Set(['.txt', '.list', '.lst'])

/**
 * Paths of images for what was given: files, folders with all below them, patterns, lists of paths, and `STDIN` for a list on stdin. Nothing is
 * held but the names in one folder at a time. Paths in a list are relative to the working folder; empty lines do not count.
 * @throws VitpassError FILE_NOT_FOUND where a path or a list does not exist
 */
export async function* expandSources(given: readonly string[]): AsyncGenerator<string> {
  for (const item of given) {
    if (item === STDIN) {
      yield* linesOf(process.stdin)
      continue
    }
    const found = statOf(item)
    if (found === undefined && isPattern(item)) yield* matchFiles(item)
    else if (found === undefined) throw notFound(item)
    else if (found.isDirectory()) yield* imagesBelow(item)
    else if (LISTS.has(extname(item).toLowerCase())) yield* linesOf(createReadStream(item))
    else yield item
  }
}

/** @throws VitpassError as `expandSources`, before any work is done */
export function checkSources(given: readonly string[]): void {
  const missing = given.find((item) => item !== STDIN && !isPattern(item) && statOf(item) === undefined)
  if (missing !== undefined) throw notFound(missing)
}

/** How many images there are; null where stdin is among them, which can be read once only. */
export async function countSources(given: readonly string[]): Promise<number | null> {
  if (given.includes(STDIN)) return null
  let count = 0
  for await (const _ of expandSources(given)) count += 1
  return count
}

function* imagesBelow(folder: string): Generator<string> {
  for (const entry of entriesOf(folder)) {
    if (entry.name.startsWith('.')) continue
    const path = join(folder, entry.name)
    // A link may lead back up, so folders behind links are left alone.
    if (entry.isDirectory()) yield* imagesBelow(path)
    else if (IMAGES.has(extname(entry.name).toLowerCase())) yield path
  }
}

async function* linesOf(stream: AsyncIterable<Uint8Array | string>): AsyncGenerator<string> {
  for await (const { text } of readLines(stream)) {
    const line = text.endsWith('\r') ? text.slice(0, -1) : text
    if (line.trim() !== '') yield line
  }
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch {
    return undefined
  }
}

function notFound(path: string): VitpassError {
  return new VitpassError('FILE_NOT_FOUND', 'there is no such file or folder', {
    where: path,
    remedy: 'check the path',
  })
}

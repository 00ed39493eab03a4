import { readFileSync, statSync } from 'node:fs'
import { extname } from 'node:path'
import type { SizeCount } from '../batching/buckets.ts'
import { countSizes, isCount, parseSizes } from '../batching/sizes.ts'
import { VitpassError } from '../errors.ts'
import { stepLine } from './step-line.ts'

/** Sizes that were read, equal ones counted, and image files that could not be read. */
export interface SizeList {
  readonly sizes: readonly SizeCount[]
  readonly unreadable: readonly { readonly path: string; readonly reason: string }[]
}

/**
 * Reads sizes from a JSON file, a CSV file, or the headers of the images in a folder. Which kind of file it is goes by its ending and, where that does
 * not tell, by whether it begins as JSON does.
 * @throws VitpassError FILE_NOT_FOUND, FILE_UNREADABLE where the file or folder holds no sizes; RUNTIME_MISSING without sharp
 */
export async function readSizeList(path: string): Promise<SizeList> {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) {
    throw new VitpassError('FILE_NOT_FOUND', 'there is no such file or folder', {
      where: path,
      remedy: 'check --sizes',
    })
  }
  if (stat.isDirectory()) return readFolder(path)
  const text = readText(path)
  const kind = extname(path).toLowerCase()
  const isJson = kind === '.json' || (kind !== '.csv' && kind !== '.tsv' && /^\s*[[{]/.test(text))
  const sizes = countSizes(isJson ? inFile(path, () => parseSizes(text, 'the list')) : parseTable(text, path))
  if (sizes.length === 0) {
    throw unreadable(path, 'there are no sizes in it', 'give one at least')
  }
  return { sizes, unreadable: [] }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/^\uFEFF/, '')
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    throw unreadable(path, `the file cannot be read (${code})`, 'check its permissions')
  }
}

/** What is wrong in a file's text is no wrong use of the command line. */
function inFile<T>(path: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof VitpassError)) throw error
    throw unreadable(path, error.message, error.remedy ?? '')
  }
}

async function readFolder(path: string): Promise<SizeList> {
  const { readImageSizes } = await import('../runtime/image-sizes.ts')
  const line = stepLine(process.stderr)
  try {
    const { images, unreadable: bad } = await readImageSizes(path, (done, total) => {
      if (done % 100 === 0) line.show(`reading sizes: ${done} of ${total} images`)
    })
    if (images.length === 0) {
      const [first] = bad
      const why = first === undefined ? '' : `; ${first.path}: ${first.reason}`
      throw unreadable(
        path,
        `there are no images in it that can be read${why}`,
        'give a folder of JPEG, PNG or the like',
      )
    }
    return { sizes: countSizes(images.map(({ height, width }) => ({ height, width, count: 1 }))), unreadable: bad }
  } finally {
    line.clear()
  }
}

/** Names that a column may have in the first line, and what it holds. */
const COLUMNS: Readonly<Record<string, keyof SizeCount>> = {
  height: 'height',
  h: 'height',
  width: 'width',
  w: 'width',
  count: 'count',
  n: 'count',
}

/**
 * Rows of height, width and, where there is one, count; or in the order of a first line that names them, with any other columns. Cells are
 * parted by commas, semicolons or tabs.
 * @throws VitpassError FILE_UNREADABLE that names the line
 */
export function parseTable(text: string, path: string): SizeCount[] {
  const lines = text.split(/\r?\n/).map((line, i) => ({ number: i + 1, cells: cellsOf(line) }))
  const rows = lines.filter(({ cells }) => cells.some((cell) => cell !== ''))
  const [first] = rows
  const named = first?.cells.every((cell) => Number.isNaN(Number(cell)) || cell === '') === true
  const order = named ? columnsOf(first.cells, path) : (['height', 'width', 'count'] as const)
  return rows.slice(named ? 1 : 0).map(({ number, cells }) => {
    const cell = (column: keyof SizeCount): number => {
      const text = cells[order.indexOf(column)] ?? ''
      return text === '' && column === 'count' ? 1 : Number(text === '' ? Number.NaN : text)
    }
    const size = { height: cell('height'), width: cell('width'), count: cell('count') }
    const fits = named || (cells.length >= 2 && cells.length <= 3)
    if (fits && isCount(size.height) && isCount(size.width) && isCount(size.count)) return size
    const remedy = 'give height, width and, if you like, a count, in whole numbers from 1'
    throw unreadable(`${path}:${number}`, `"${cells.join(',').slice(0, 60)}" is no size`, remedy)
  })
}

function cellsOf(line: string): string[] {
  return line.split(/[,;\t]/).map((cell) =>
    cell
      .trim()
      .replace(/^"(.*)"$/, '$1')
      .trim(),
  )
}

function columnsOf(cells: readonly string[], path: string): (keyof SizeCount | undefined)[] {
  const order = cells.map((cell) => {
    const name = cell.toLowerCase()
    return Object.hasOwn(COLUMNS, name) ? COLUMNS[name] : undefined
  })
  if (order.includes('height') && order.includes('width')) return order
  const remedy = 'name columns height and width, or give numbers only'
  throw unreadable(path, `its first line names no height and width: "${cells.join(',').slice(0, 60)}"`, remedy)
}

function unreadable(where: string, what: string, remedy: string): VitpassError {
  return new VitpassError('FILE_UNREADABLE', what, { where, remedy })
}

import { extname } from 'node:path'
import { VitpassError } from '../errors.ts'

/** How rows are written. */
export interface RowFormat {
  readonly extension: '.npy' | '.safetensors' | '.jsonl'
  /** Bytes in front of the rows, rewritten when their number is known. */
  readonly headerLength: number
  /** Where names go: into a file of their own, behind the rows, or into each row. */
  readonly names: 'beside' | 'behind' | 'inline'
  header(shape: RowsShape): Uint8Array
  /** One row as bytes. */
  row(name: string, values: Float32Array): Uint8Array
}

export interface RowsShape {
  readonly rows: number
  readonly features: number
  /** Bytes of the names behind the rows. */
  readonly nameBytes: number
}

const text = new TextEncoder()

/** numpy, format 1.0: 10 bytes, then a Python dictionary, filled up with blanks to a multiple of 64. */
const npy: RowFormat = {
  extension: '.npy',
  headerLength: 128,
  names: 'beside',
  header({ rows, features }) {
    const dictionary = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, ${features}), }`
    const start = [0x93, ...text.encode('NUMPY'), 1, 0, 128 - 10, 0]
    return Uint8Array.from([...start, ...text.encode(`${dictionary.padEnd(128 - 11)}\n`)])
  },
  row: (_, values) => littleEndian(values),
}

/** safetensors: 8 bytes of length, JSON filled up with blanks, tensors. `names` holds a JSON array of the rows' names as UTF-8. */
const safetensors: RowFormat = {
  extension: '.safetensors',
  headerLength: 512,
  names: 'behind',
  header({ rows, features, nameBytes }) {
    const bytes = 4 * rows * features
    const json = JSON.stringify({
      __metadata__: { format: 'pt', names: 'a JSON array with the name of each row, as UTF-8' },
      embeddings: { dtype: 'F32', shape: [rows, features], data_offsets: [0, bytes] },
      names: { dtype: 'U8', shape: [nameBytes], data_offsets: [bytes, bytes + nameBytes] },
    })
    const header = new Uint8Array(512)
    new DataView(header.buffer).setBigUint64(0, 512n - 8n, true)
    header.set(text.encode(json.padEnd(512 - 8)), 8)
    return header
  },
  row: (_, values) => littleEndian(values),
}

/** One JSON object a line: `{"name": ..., "embedding": [...]}`. */
const jsonl: RowFormat = {
  extension: '.jsonl',
  headerLength: 0,
  names: 'inline',
  header: () => new Uint8Array(),
  row(name, values) {
    return text.encode(`{"name":${JSON.stringify(name)},"embedding":[${Array.from(values, shortest).join(',')}]}\n`)
  },
}

/** The format that a file's name asks for. @throws VitpassError USAGE for another ending */
export function formatOf(path: string): RowFormat {
  const extension = extname(path).toLowerCase()
  const format = [npy, safetensors, jsonl].find((known) => known.extension === extension)
  if (format !== undefined) return format
  throw new VitpassError('USAGE', `the output cannot be "${path}"`, {
    remedy: 'give -o a name that ends in .npy, .safetensors or .jsonl',
  })
}

const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

function littleEndian(values: Float32Array): Uint8Array {
  if (isLittleEndian) return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  const view = new DataView(new ArrayBuffer(values.byteLength))
  for (const [i, value] of values.entries()) view.setFloat32(4 * i, value, true)
  return new Uint8Array(view.buffer)
}

/** The shortest decimal that reads back as the same 32-bit float. */
function shortest(value: number): string {
  for (let digits = 6; digits < 9; digits++) {
    const text = value.toPrecision(digits)
    if (Math.fround(Number(text)) === value) return String(Number(text))
  }
  return String(Number(value.toPrecision(9)))
}

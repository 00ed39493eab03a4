import { createReadStream, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { VitpassError } from '../errors.ts'
import { AppendFile } from './append-file.ts'
import type { RowFormat } from './encode-formats.ts'
import { readLines } from './lines.ts'

/** What must be the same for rows to go on in one file: the model and how images are prepared. */
export type RunState = Readonly<Record<string, unknown>>

/** Rows after which files are brought up to date. */
const FLUSHED = 64

interface Resumed {
  readonly features: number
  /** How often each name has a row. */
  readonly names: Map<string, number>
  readonly rows: number
  readonly dataBytes: number
  readonly nameBytes: number
}

/**
 * Rows and their names on their way into a file. They go to `<output>.partial` and its companions, which get their final names when all
 * is done; a run that ends early leaves them, and one with `resume` goes on behind the rows that are whole.
 */
export class RowOutput {
  private readonly done: Map<string, number>
  private readonly path: string
  private readonly format: RowFormat
  private readonly state: RunState
  private readonly data: AppendFile
  private readonly names: AppendFile | null
  private features: number | null
  private count: number

  private constructor(path: string, format: RowFormat, state: RunState, resumed: Resumed | null) {
    this.path = path
    this.format = format
    this.state = state
    this.done = resumed?.names ?? new Map()
    this.features = resumed?.features ?? null
    this.count = resumed?.rows ?? 0
    if (resumed === null) removePartial(path)
    this.data = new AppendFile(partial(path), resumed?.dataBytes)
    this.names = format.names === 'inline' ? null : new AppendFile(partial(path, '.names'), resumed?.nameBytes)
    if (resumed === null) this.data.append(new Uint8Array(format.headerLength))
  }

  /**
   * @param resume whether to go on where an earlier run with the same state ended; where there is none, it begins anew
   * @throws VitpassError USAGE where that run had another state; FILE_UNWRITABLE
   */
  static async open(path: string, format: RowFormat, state: RunState, resume: boolean): Promise<RowOutput> {
    return new RowOutput(path, format, state, resume ? await findPartial(path, format, state) : null)
  }

  /** Rows so far, those of an earlier run counted. */
  get rows(): number {
    return this.count
  }

  /** Whether an earlier run has a row for this image; asked once for each image, as a name may be there twice. */
  takeDone(name: string): boolean {
    const left = this.done.get(name) ?? 0
    if (left > 0) this.done.set(name, left - 1)
    return left > 0
  }

  /** @throws VitpassError FILE_UNWRITABLE; MODEL_UNSUPPORTED where rows are not equally long */
  append(name: string, row: Float32Array): void {
    if (this.features === null) {
      this.features = row.length
      writeFileSync(partial(this.path, '.json'), `${JSON.stringify({ ...this.state, features: row.length })}\n`)
    }
    if (row.length !== this.features) {
      throw new VitpassError(
        'MODEL_UNSUPPORTED',
        `its rows have ${this.features} features, and one has ${row.length}`,
        {
          where: name,
          remedy: 'name an output whose length does not depend on the image with --model-output',
        },
      )
    }
    this.data.append(this.format.row(name, row))
    this.names?.append(encode(`${this.count === 0 ? '[' : ','}${JSON.stringify(name)}\n`))
    this.count += 1
    if (this.count % FLUSHED === 0) this.flush()
  }

  /** Names last: a row whose name is not there does not count when a run goes on. */
  private flush(): void {
    this.data.flush()
    this.names?.flush()
  }

  /**
   * Gives the files their names.
   * @param features length of a row where there is no row to tell it
   * @returns paths of what was written
   */
  finish(features: number): string[] {
    this.names?.append(encode(this.count === 0 ? '[]\n' : ']\n'))
    const nameBytes = this.names?.length ?? 0
    this.names?.close()
    if (this.names !== null && this.format.names === 'behind') this.data.append(readFileSync(this.names.path))
    const shape = { rows: this.count, features: this.features ?? features, nameBytes }
    if (this.format.headerLength > 0) this.data.patch(this.format.header(shape))
    this.data.close(true)
    const beside = this.format.names === 'beside' && this.names !== null ? [namesPath(this.path)] : []
    for (const path of beside) renameSync(partial(this.path, '.names'), path)
    renameSync(partial(this.path), this.path)
    removePartial(this.path)
    return [this.path, ...beside]
  }

  /** Keeps what there is for a later run; nothing stays where there is no row. */
  stop(): void {
    this.names?.close()
    this.data.close()
    if (this.count === 0) removePartial(this.path)
  }
}

/** Where the names of the rows of a .npy file are. */
function namesPath(path: string): string {
  return `${path.slice(0, -'.npy'.length)}.names.json`
}

function partial(path: string, more = ''): string {
  return `${path}.partial${more}`
}

function removePartial(path: string): void {
  for (const more of ['', '.names', '.json']) rmSync(partial(path, more), { force: true })
}

async function findPartial(path: string, format: RowFormat, state: RunState): Promise<Resumed | null> {
  const [statePath, dataPath] = [partial(path, '.json'), partial(path)]
  const namesFile = format.names === 'inline' ? dataPath : partial(path, '.names')
  if (![statePath, dataPath, namesFile].every((file) => existsSync(file))) return null
  const { features, ...before }: { features: number } & RunState = JSON.parse(readFileSync(statePath, 'utf8'))
  const changed = Object.keys({ ...before, ...state }).filter(
    (key) => JSON.stringify(before[key]) !== JSON.stringify(state[key]),
  )
  if (changed.length > 0) {
    throw new VitpassError('USAGE', `the rows so far were made with another ${changed.join(' and ')}`, {
      where: dataPath,
      remedy: 'run it as before, or leave out --resume to begin anew',
    })
  }
  const rowBytes = format.names === 'inline' ? 0 : 4 * features
  const rowsInData =
    rowBytes === 0 ? Number.POSITIVE_INFINITY : Math.floor((statSync(dataPath).size - format.headerLength) / rowBytes)
  const names = new Map<string, number>()
  let rows = 0
  let nameBytes = 0
  for await (const { text, end, whole } of readLines(createReadStream(namesFile))) {
    const name = whole && rows < rowsInData ? nameIn(text, format) : null
    if (name === null) break
    names.set(name, (names.get(name) ?? 0) + 1)
    rows += 1
    nameBytes = end
  }
  if (rows === 0) return null
  const dataBytes = format.names === 'inline' ? nameBytes : format.headerLength + rows * rowBytes
  return { features, names, rows, dataBytes, nameBytes }
}

/** The name in a line of a partial file; null where the line is no such line. */
function nameIn(line: string, format: RowFormat): string | null {
  const pattern = format.names === 'inline' ? /^\{"name":("(?:[^"\\]|\\.)*"),"embedding":\[.*\]\}$/ : /^[[,](".*")$/
  const [, json] = pattern.exec(line) ?? []
  const name: unknown = json === undefined ? null : JSON.parse(json)
  return typeof name === 'string' ? name : null
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

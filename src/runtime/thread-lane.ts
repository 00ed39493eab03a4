import { Worker } from 'node:worker_threads'
import { VitpassError } from '../errors.ts'
import { buffersOf, type Lane, type Ran } from './lane.ts'
import type { SessionOptions } from './session.ts'
import type { Feeds } from './strategy.ts'
import { type FromThread, fromPlain, type ThreadStart, type ToThread } from './thread-messages.ts'

/** The bundled command line lies in a folder beside this one, and starts the same file. */
const FROM_SOURCES = import.meta.url.endsWith('.ts')
const THREAD = new URL(`../runtime/encoder-thread.${FROM_SOURCES ? 'ts' : 'js'}`, import.meta.url)

/** The sources are run by the tsx package where Node itself does not take TypeScript. */
const NEEDS_TSX = FROM_SOURCES && !('typescript' in process.features && Boolean(process.features.typescript))
const WITH_TSX = `import('tsx/esm/api').then(({ register }) => { register(); return import(${JSON.stringify(THREAD.href)}) })`

interface Waiting {
  readonly resolve: (ran: Ran) => void
  readonly reject: (error: VitpassError) => void
}

/** A session on a thread of its own; the caller's event loop goes on. It keeps the process alive only while something runs. */
export class ThreadLane implements Lane {
  private readonly worker: Worker
  private readonly waiting = new Map<number, Waiting>()
  /** Resolves when the session is open. */
  private readonly opened: Promise<void>
  private open: () => void = () => {}
  private refuse: (error: VitpassError) => void = () => {}
  private runs = 0
  private ended: VitpassError | null = null

  private constructor(worker: Worker) {
    this.worker = worker
    this.opened = new Promise((resolve, reject) => {
      this.open = resolve
      this.refuse = reject
    })
    worker.on('message', (message: FromThread) => this.receive(message))
    worker.on('error', (cause) =>
      this.end(stopped(`failed (${cause instanceof Error ? cause.message : String(cause)})`, cause)),
    )
    worker.on('messageerror', (cause) => this.end(stopped('sent what cannot be read', cause)))
    worker.on('exit', (code) => this.end(stopped(`ended with code ${code}`)))
  }

  /** @throws VitpassError RUNTIME_MISSING, RUNTIME_FAILED */
  static async open(source: string | Uint8Array, options: SessionOptions): Promise<ThreadLane> {
    const start: ThreadStart = { source, options }
    const worker = NEEDS_TSX
      ? new Worker(WITH_TSX, { workerData: start, eval: true })
      : new Worker(THREAD, { workerData: start })
    const lane = new ThreadLane(worker)
    await lane.opened
    worker.unref()
    return lane
  }

  get alive(): boolean {
    return this.ended === null
  }

  run(feeds: Feeds, outputs: readonly string[]): Promise<Ran> {
    if (this.ended !== null) return Promise.reject(this.ended)
    const id = this.runs++
    const ran = new Promise<Ran>((resolve, reject) => this.waiting.set(id, { resolve, reject }))
    this.worker.ref()
    this.send({ kind: 'run', id, feeds, outputs }, buffersOf(feeds))
    return ran
  }

  async close(): Promise<void> {
    if (this.ended !== null) return
    const gone = new Promise((resolve) => this.worker.once('exit', resolve))
    this.worker.ref()
    this.send({ kind: 'close' })
    await gone
  }

  /** Ends the thread at once; what waits fails. Never while it runs something: ONNX Runtime then takes the whole process down. */
  async terminate(): Promise<void> {
    await this.worker.terminate()
  }

  private send(message: ToThread, buffers: readonly ArrayBuffer[] = []): void {
    this.worker.postMessage(message, [...buffers])
  }

  private receive(message: FromThread): void {
    if (message.kind === 'open') return this.open()
    if (message.kind === 'shut') return this.end(fromPlain(message.error))
    const waiting = this.waiting.get(message.id)
    this.waiting.delete(message.id)
    if (this.waiting.size === 0) this.worker.unref()
    if (message.kind === 'ran') waiting?.resolve(message)
    else waiting?.reject(fromPlain(message.error))
  }

  private end(error: VitpassError): void {
    this.ended ??= error
    this.refuse(this.ended)
    for (const { reject } of this.waiting.values()) reject(this.ended)
    this.waiting.clear()
  }
}

function stopped(how: string, cause?: unknown): VitpassError {
  return new VitpassError('RUNTIME_FAILED', `a thread of the encoder ${how}`, {
    remedy: 'open the encoder again; if memory ran out, with fewer workers',
    cause,
  })
}

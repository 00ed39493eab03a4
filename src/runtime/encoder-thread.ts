/** What runs in each of the encoder's threads: one session, one batch after the other. */
import { parentPort, workerData } from 'node:worker_threads'
import { VitpassError } from '../errors.ts'
import { LocalLane } from './lane.ts'
import { type FromThread, type ThreadStart, type ToThread, toPlain } from './thread-messages.ts'

const port = parentPort
if (port === null) throw new VitpassError('INTERNAL', 'this file is the start of a worker thread')

function send(message: FromThread, buffers: readonly ArrayBuffer[] = []): void {
  port?.postMessage(message, [...buffers])
}

async function run(lane: LocalLane, message: ToThread & { readonly kind: 'run' }): Promise<void> {
  const { id, feeds, outputs } = message
  try {
    const ran = await lane.run(feeds, outputs)
    const made = Object.values(ran.outputs).map(({ data }) => data.buffer)
    send({ kind: 'ran', id, ...ran }, [
      ...new Set([...ran.buffers, ...made.filter((buffer) => buffer instanceof ArrayBuffer)]),
    ])
  } catch (error) {
    send({ kind: 'failed', id, error: toPlain(error) }, [])
  }
}

async function start({ source, options }: ThreadStart): Promise<void> {
  const lane = await LocalLane.open(source, options)
  let last = Promise.resolve()
  port?.on('message', (message: ToThread) => {
    last = last.then(() => (message.kind === 'run' ? run(lane, message) : lane.close().then(() => port.close())))
  })
  send({ kind: 'open' })
}

// The starter is the only one who sets it.
start(workerData as ThreadStart).catch((error: unknown) => {
  send({ kind: 'shut', error: toPlain(error) })
  port.close()
})

import { Session, type SessionOptions } from './session.ts'
import type { Feeds, Outputs } from './strategy.ts'

/** What a run gives back. */
export interface Ran {
  readonly outputs: Outputs
  /** The feeds' buffers, to be used again. */
  readonly buffers: readonly ArrayBuffer[]
}

/** A session that takes one batch after the other. */
export interface Lane {
  /** False once its thread has ended. */
  readonly alive: boolean
  /** The feeds' buffers are the lane's until the run is over. @throws VitpassError what running the model throws */
  run(feeds: Feeds, outputs: readonly string[]): Promise<Ran>
  /** Nothing may run any more. */
  close(): Promise<void>
}

/** A session on the caller's own thread, which stands still while it runs. */
export class LocalLane implements Lane {
  readonly alive = true
  private readonly session: Session

  private constructor(session: Session) {
    this.session = session
  }

  /** @throws VitpassError RUNTIME_MISSING, RUNTIME_FAILED */
  static async open(source: string | Uint8Array, options: SessionOptions): Promise<LocalLane> {
    return new LocalLane(await Session.open(source, options))
  }

  async run(feeds: Feeds, outputs: readonly string[]): Promise<Ran> {
    return { outputs: await this.session.runHost(feeds, outputs), buffers: buffersOf(feeds) }
  }

  async close(): Promise<void> {
    await this.session.close()
  }
}

/** The distinct buffers that feeds lie in. */
export function buffersOf(feeds: Feeds): ArrayBuffer[] {
  const buffers = Object.values(feeds).map(({ data }) => data.buffer)
  return [...new Set(buffers)].filter((buffer) => buffer instanceof ArrayBuffer)
}

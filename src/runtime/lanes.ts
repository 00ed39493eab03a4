import { VitpassError } from '../errors.ts'
import { type Lane, LocalLane, type Ran } from './lane.ts'
import type { SessionOptions } from './session.ts'
import type { Feeds } from './strategy.ts'
import { ThreadLane } from './thread-lane.ts'

/** Why a provider does not run the model. */
export interface ProviderReason {
  readonly provider: string
  readonly reason: string
}

export interface LaneCount {
  /** Threads with a session each; 0 for one session on the caller's thread. */
  readonly workers: number
  /** Threads inside an operator; undefined leaves it to ONNX Runtime. */
  readonly threads: number | undefined
}

interface Busy {
  readonly lane: Lane
  /** Tokens that wait or run. */
  tokens: number
}

/** The sessions of an encoder; each batch goes to the one with the least to do. */
export class Lanes {
  readonly provider: string
  readonly reasons: readonly ProviderReason[]
  private readonly lanes: readonly Busy[]

  private constructor(provider: string, reasons: readonly ProviderReason[], lanes: readonly Lane[]) {
    this.provider = provider
    this.reasons = reasons
    this.lanes = lanes.map((lane) => ({ lane, tokens: 0 }))
  }

  /**
   * Opens the model with the first provider that takes it.
   * @throws VitpassError RUNTIME_MISSING; RUNTIME_FAILED with every provider's reason where none takes it
   */
  static async open(
    source: string | Uint8Array,
    providers: readonly string[],
    countFor: (provider: string) => LaneCount,
    options: SessionOptions,
  ): Promise<Lanes> {
    const reasons: ProviderReason[] = []
    for (const provider of providers) {
      const { workers, threads } = countFor(provider)
      const settings = { ...options, providers: [provider], ...(threads === undefined ? {} : { threads }) }
      const open = (): Promise<Lane> => (workers === 0 ? LocalLane : ThreadLane).open(source, settings)
      try {
        const first = await open()
        const others = await Promise.allSettled(Array.from({ length: Math.max(0, workers - 1) }, open))
        const lanes = [first, ...others.flatMap((other) => (other.status === 'fulfilled' ? [other.value] : []))]
        return new Lanes(provider, reasons, lanes)
      } catch (error) {
        if (!(error instanceof VitpassError) || error.code !== 'RUNTIME_FAILED') throw error
        reasons.push({ provider, reason: error.message })
      }
    }
    const said = reasons.map(({ provider, reason }) => `${provider}: ${reason}`).join('; ')
    throw new VitpassError('RUNTIME_FAILED', `no provider runs the model (${said})`, {
      ...(typeof source === 'string' ? { where: source } : {}),
      remedy: 'add cpu to the providers, or see whether `vitpass verify` can run the model',
    })
  }

  get count(): number {
    return this.lanes.length
  }

  /** True while there is a session left to run something. */
  get alive(): boolean {
    return this.lanes.some(({ lane }) => lane.alive)
  }

  /** @throws VitpassError what running the model throws; RUNTIME_FAILED where a thread has ended */
  async run(feeds: Feeds, outputs: readonly string[], tokens: number): Promise<Ran> {
    const living = this.lanes.filter(({ lane }) => lane.alive)
    const [first, ...others] = living
    if (first === undefined) {
      throw new VitpassError('RUNTIME_FAILED', 'every thread of the encoder has ended', { remedy: 'open it again' })
    }
    const chosen = others.reduce((best, lane) => (lane.tokens < best.tokens ? lane : best), first)
    chosen.tokens += tokens
    try {
      return await chosen.lane.run(feeds, outputs)
    } finally {
      chosen.tokens -= tokens
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.lanes.map(({ lane }) => lane.close()))
  }
}

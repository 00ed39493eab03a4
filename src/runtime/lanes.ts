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
  /** True where one more session may be opened that uses the whole machine. */
  readonly wide: boolean
}

type Open = (options: SessionOptions) => Promise<Lane>

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
  private readonly wide: WideLane | null

  private constructor(
    provider: string,
    reasons: readonly ProviderReason[],
    lanes: readonly Lane[],
    wide: WideLane | null,
  ) {
    this.provider = provider
    this.reasons = reasons
    this.lanes = lanes.map((lane) => ({ lane, tokens: 0 }))
    this.wide = wide
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
      const { workers, threads, wide } = countFor(provider)
      const open: Open = (more) =>
        (workers === 0 ? LocalLane : ThreadLane).open(source, { ...options, providers: [provider], ...more })
      const narrow = threads === undefined ? {} : { threads }
      try {
        const first = await open(narrow)
        const rest = Array.from({ length: Math.max(0, workers - 1) }, () => open(narrow))
        const others = await Promise.allSettled(rest)
        const lanes = [first, ...others.flatMap((other) => (other.status === 'fulfilled' ? [other.value] : []))]
        const whole = { threads: lanes.length * (threads ?? 1) }
        return new Lanes(provider, reasons, lanes, wide && lanes.length > 1 ? new WideLane(() => open(whole)) : null)
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

  /**
   * True where batches of so many tokens are done sooner one after the other on the whole machine than side by side: there are too few of
   * them, or one is much larger than the others. The session for it is opened when this comes up a second time, and used once it is
   * there.
   */
  prefersWide(batches: readonly number[]): boolean {
    if (this.wide === null || this.lanes.some(({ tokens }) => tokens > 0)) return false
    const total = batches.reduce((sum, tokens) => sum + tokens, 0)
    const together = total / this.lanes.length ** WIDE_EXPONENT
    if (total < LEAST_WIDE || longest(batches, this.lanes.length) < MUCH_SOONER * together) return false
    return this.wide.ask()
  }

  /**
   * @param wide whether to use the session for the whole machine
   * @throws VitpassError what running the model throws; RUNTIME_FAILED where a thread has ended
   */
  async run(feeds: Feeds, outputs: readonly string[], tokens: number, wide = false): Promise<Ran> {
    const whole = wide ? this.wide?.lane : undefined
    if (whole?.alive === true) return whole.run(feeds, outputs)
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
    await Promise.all([...this.lanes.map(({ lane }) => lane.close()), this.wide?.close()])
  }
}

/** Threads inside operators make one run this power of their number faster. */
const WIDE_EXPONENT = 0.8

/** Tokens from which threads inside operators have something to share. */
const LEAST_WIDE = 100

/** How much longer batches side by side must take. */
const MUCH_SOONER = 1.1

/** When the last lane is done, in tokens, where each batch goes to the lane with the least to do. */
function longest(batches: readonly number[], lanes: number): number {
  const loads = Array.from({ length: lanes }, () => 0)
  for (const tokens of batches.toSorted((a, b) => b - a)) {
    const least = loads.indexOf(Math.min(...loads))
    loads[least] = (loads[least] ?? 0) + tokens
  }
  return Math.max(...loads)
}

/** A session that uses every core, opened when it has been asked for twice. */
class WideLane {
  lane: Lane | undefined
  private readonly open: () => Promise<Lane>
  private opening: Promise<void> | null = null
  private asked = 0

  constructor(open: () => Promise<Lane>) {
    this.open = open
  }

  /** True once it is there. */
  ask(): boolean {
    this.asked += 1
    if (this.asked > 1) {
      // Where it does not open, the others do its work.
      this.opening ??= this.open().then(
        (lane) => {
          this.lane = lane
        },
        () => {},
      )
    }
    return this.lane?.alive === true
  }

  async close(): Promise<void> {
    await this.opening
    await this.lane?.close()
  }
}

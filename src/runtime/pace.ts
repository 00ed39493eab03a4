import { setImmediate } from 'node:timers/promises'

/** Milliseconds of work in one go. */
const SLICE_MS = 6

/** Lets the event loop turn while long work goes on. */
export class Pace {
  private since = performance.now()

  /** True when it is time to call `turn`. */
  get due(): boolean {
    return performance.now() - this.since > SLICE_MS
  }

  async turn(): Promise<void> {
    await setImmediate()
    this.since = performance.now()
  }

  /** Runs a generator to its end; wherever it yields, the loop may turn. */
  async drive<T>(work: Generator<undefined, T, undefined>): Promise<T> {
    for (;;) {
      const step = work.next()
      if (step.done === true) return step.value
      if (this.due) await this.turn()
    }
  }
}

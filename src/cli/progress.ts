/** Below this size a file is written faster than a bar can be read. */
const WORTH_SHOWING = 64_000_000

/** Told while bytes are copied: how many are done, of how many. */
export interface Progress {
  readonly onProgress: (done: number, total: number) => void
  /** Clears the bar away. */
  stop(): void
}

/** A bar on stderr while a large file is written to, on a terminal only; elsewhere it stays silent. */
export async function showProgress(terminal: boolean): Promise<Progress> {
  if (!terminal) return { onProgress: () => {}, stop: () => {} }
  const { default: cliProgress } = await import('cli-progress')
  const bar = new cliProgress.SingleBar({
    format: 'writing [{bar}] {percentage}% | {eta} s left',
    stream: process.stderr,
    clearOnComplete: true,
    linewrap: true,
    gracefulExit: false,
    stopOnComplete: false,
  })
  let started = false
  return {
    onProgress: (done, total) => {
      if (total < WORTH_SHOWING) return
      if (started) bar.update(done)
      else bar.start(total, done)
      started = true
    },
    stop: () => {
      if (started) bar.stop()
    },
  }
}

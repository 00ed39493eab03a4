/** Below this size a file is written faster than a bar can be read. */
const WORTH_SHOWING = 64_000_000

/** Told while bytes are copied: how many are done, of how many. */
export interface Progress {
  readonly onProgress: (done: number, total: number) => void
  /** Clears the bar away. */
  stop(): void
}

/** Where a bar can be drawn: stderr, with `isTTY` set where it is a terminal. */
export type Screen = NodeJS.WritableStream & { readonly isTTY?: boolean }

/** A bar while a large file is written, on a terminal only; elsewhere it stays silent. */
export async function showProgress(screen: Screen = process.stderr): Promise<Progress> {
  if (screen.isTTY !== true) return { onProgress: () => {}, stop: () => {} }
  const { default: cliProgress } = await import('cli-progress')
  const bar = new cliProgress.SingleBar({
    format: 'writing [{bar}] {percentage}% | {eta} s left',
    stream: screen,
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

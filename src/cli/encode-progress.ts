import type { Screen } from './progress.ts'

/** Told of each image that is done, encoded or not. */
export interface EncodeProgress {
  step(): void
  /** Takes the bar away, for a line of text or for good; the next step brings it back. */
  clear(): void
}

/** A bar on stderr with images a second and the time left, on a terminal only; elsewhere it stays silent. */
export async function encodeProgress(stream: Screen, count: () => Promise<number | null>): Promise<EncodeProgress> {
  if (stream.isTTY !== true) return { step: () => {}, clear: () => {} }
  const { default: cliProgress } = await import('cli-progress')
  const total = await count()
  const known = total === null ? '' : ' [{bar}] {percentage}%'
  const left = total === null ? '' : ' | {left} left'
  const bar = new cliProgress.SingleBar({
    format: `encoding${known} | {value} images | {rate} images/s${left}`,
    stream,
    clearOnComplete: true,
    gracefulExit: false,
    stopOnComplete: false,
    hideCursor: false,
  })
  const start = performance.now()
  let done = 0
  let shown = false
  return {
    step: () => {
      done += 1
      const rate = done / ((performance.now() - start) / 1000)
      const payload = { rate: rate.toFixed(rate < 10 ? 1 : 0), left: duration(((total ?? done) - done) / rate) }
      if (shown) bar.update(done, payload)
      else bar.start(total ?? 0, done, payload)
      shown = true
    },
    clear: () => {
      if (shown) bar.stop()
      shown = false
    },
  }
}

/** `45 s`, `3 min 20 s`, `2 h 5 min`. */
function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}

/** What stands for `-` on the command line. */
export const STDIN = '/dev/stdin'

/** Writes a result to stdout. */
export function print(text: string): void {
  process.stdout.write(text)
}

/** Writes one line about the work to stderr. */
export function tell(text: string): void {
  process.stderr.write(`vitpass: ${oneLine(text)}\n`)
}

/** Text on one line, without control characters: names in a model or a path may hold any. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').trim()
}

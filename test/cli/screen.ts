import { Writable } from 'node:stream'
import type { Screen } from '../../src/cli/progress.ts'

/** A stream that keeps what is drawn on it. */
export function screen(isTTY: boolean): { readonly stream: Screen; drawn(): string } {
  const parts: string[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      parts.push(String(chunk))
      done()
    },
  })
  return { stream: Object.assign(stream, { isTTY }), drawn: () => parts.join('') }
}

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { MAIN, ROOT } from './command.ts'

/** Builds `dist` where it is missing or older than the sources, as a user builds it. */
export function setup(): void {
  const built = existsSync(MAIN) ? statSync(MAIN).mtimeMs : 0
  if (built > Math.max(newest(join(ROOT, 'src')), newest(join(ROOT, 'passes')))) return
  const result = spawnSync('npm', ['run', '--silent', 'build'], {
    cwd: ROOT,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  })
  if (result.status !== 0) throw new Error(`the build fails:\n${result.stdout}${result.stderr}`)
}

function newest(folder: string): number {
  const times = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map(
    (name) => statSync(join(folder, name)).mtimeMs,
  )
  return Math.max(0, ...times)
}

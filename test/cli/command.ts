import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** The built command line. */
export const MAIN = join(ROOT, 'dist', 'src', 'cli', 'main.js')

/** An export that all passes can serve. */
export const FIXTURE = join(ROOT, 'fixtures', 'vit-p16-g4', 'ts17-eager-interp.onnx')

export interface Answer {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Setting {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
}

/** Runs `vitpass` with these arguments in a process of its own. */
export function vitpass(args: readonly string[], { cwd = ROOT, env = {} }: Setting = {}): Answer {
  return answerOf(
    spawnSync(process.execPath, [MAIN, ...args], { cwd, env: { ...process.env, ...env }, encoding: 'utf8' }),
  )
}

/** The same through a shell: for limits and redirections. `$VITPASS` stands for the command. */
export function shell(script: string, { cwd = ROOT, env = {} }: Setting = {}): Answer {
  const variables = { ...process.env, VITPASS: `${process.execPath} ${MAIN}`, ...env }
  return answerOf(spawnSync('bash', ['-c', script], { cwd, env: variables, encoding: 'utf8' }))
}

function answerOf({ status, stdout, stderr }: { status: number | null; stdout: string; stderr: string }): Answer {
  return { code: status, stdout, stderr }
}

/** A folder that goes away with the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'vitpass-cli-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Every file below a folder with the hash of its bytes: shows what was written, changed or left behind. */
export function snapshot(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return Object.fromEntries(
    entries.map((entry) => {
      const path = join(entry.parentPath, entry.name)
      return [path.slice(folder.length + 1), createHash('sha256').update(readFileSync(path)).digest('hex')]
    }),
  )
}

import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const TOOL = fileURLToPath(new URL('../../tools/ops/generate.ts', import.meta.url))
const COMMITTED = fileURLToPath(new URL('../../src/ops/generated', import.meta.url))
const TSX = ['--import', 'tsx', TOOL]

describe('generate --check', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'vitpass-generate-'))
    cpSync(COMMITTED, folder, { recursive: true })
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const check = () => spawnSync(process.execPath, [...TSX, folder, '--check'], { encoding: 'utf8' })

  it('accepts what is committed', () => {
    expect(check()).toMatchObject({ status: 0, stderr: '' })
  })

  it('names a file that was edited or is missing, and writing mends it', () => {
    writeFileSync(join(folder, 'schemas.ts'), `${readFileSync(join(folder, 'schemas.ts'), 'utf8')}\n`)
    rmSync(join(folder, 'builders.ts'))
    const { status, stderr } = check()
    expect(status).toBe(1)
    expect(stderr).toContain('schemas.ts is stale: run npx tsx tools/ops/generate.ts')
    expect(stderr).toContain('builders.ts is stale')
    execFileSync(process.execPath, [...TSX, folder])
    for (const name of ['schemas.ts', 'builders.ts']) {
      expect(readFileSync(join(folder, name), 'utf8')).toBe(readFileSync(join(COMMITTED, name), 'utf8'))
    }
  })
})

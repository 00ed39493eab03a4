import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { VerifyMessage } from '../../src/verify/in-child.ts'
import { verifyInChild } from '../../src/verify/in-child.ts'

const FOLDER = mkdtempSync(join(tmpdir(), 'vitpass-child-'))
afterAll(() => rmSync(FOLDER, { recursive: true }))

/** A program that tells these messages and then does something in place of running models. */
function program(name: string, messages: readonly VerifyMessage[], then: string): string {
  const path = join(FOLDER, `${name}.mjs`)
  const told = messages.map((message) => `await new Promise((done) => process.send(${JSON.stringify(message)}, done))`)
  writeFileSync(path, `process.once('message', async () => {\n${told.join('\n')}\n${then}\n})\n`)
  return path
}

const RUNNING: VerifyMessage = { kind: 'step', step: { model: 'transformed', doing: 'running it on [2, 3, 64, 64]' } }
const OPENING: VerifyMessage = { kind: 'step', step: { model: 'original', doing: 'opening it' } }

describe('verification in a process of its own', () => {
  it('survives a crash and says what crashed it', async () => {
    const entry = program('segfault', [OPENING, RUNNING], `process.kill(process.pid, 'SIGSEGV')`)
    await expect(verifyInChild('a.onnx', 'b.onnx', {}, { entry })).rejects.toMatchObject({
      code: 'VERIFY_FAILED',
      where: 'b.onnx',
      message: 'ONNX Runtime crashed while running it on [2, 3, 64, 64] (SIGSEGV)',
    })
  })

  it('tells the last words of a runtime that gives up', async () => {
    const last = `process.stderr.write("terminate called\\n  what(): std::bad_alloc\\n", () => process.abort())`
    await expect(
      verifyInChild('a.onnx', 'b.onnx', {}, { entry: program('abort', [OPENING], last) }),
    ).rejects.toMatchObject({
      code: 'RUNTIME_FAILED',
      where: 'a.onnx',
      message: expect.stringMatching(/^ONNX Runtime crashed while opening it \(SIGABRT: .+\)$/),
    })
  })

  it('does not wait for ever for a program that ends without an answer', async () => {
    await expect(
      verifyInChild('a.onnx', 'b.onnx', {}, { entry: program('silent', [], 'process.exit(0)') }),
    ).rejects.toMatchObject({
      code: 'RUNTIME_FAILED',
      message: 'the process that verifies ended early (exit code 0)',
    })
  })

  it('passes errors on as they are', async () => {
    const error = { code: 'FILE_NOT_FOUND', message: 'there is no such file', where: 'a.onnx' } as const
    const entry = program('error', [{ kind: 'error', error }], 'process.disconnect()')
    await expect(verifyInChild('a.onnx', 'b.onnx', {}, { entry })).rejects.toMatchObject(error)
  })
})

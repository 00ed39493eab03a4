import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { convolutionalModel, textModel, writeLargeModel } from '../support/other-models.ts'
import { FIXTURE, MAIN, shell, snapshot, temporaryFolder, vitpass } from './command.ts'

const fixture = readFileSync(FIXTURE)

interface BadFile {
  readonly name: string
  readonly bytes: Uint8Array | null
  readonly code: string
}

const BAD_FILES: readonly BadFile[] = [
  { name: 'missing.onnx', bytes: null, code: 'FILE_NOT_FOUND' },
  { name: 'empty.onnx', bytes: new Uint8Array(), code: 'NOT_ONNX' },
  { name: 'truncated.onnx', bytes: fixture.subarray(0, Math.floor(fixture.length / 2)), code: 'MODEL_TRUNCATED' },
  { name: 'cut-by-one.onnx', bytes: fixture.subarray(0, fixture.length - 1), code: 'MODEL_TRUNCATED' },
  { name: 'text.onnx', bytes: Buffer.from('once upon a time there was a model\n'), code: 'NOT_ONNX' },
  { name: 'picture.onnx', bytes: Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex'), code: 'NOT_ONNX' },
  { name: 'zeros.onnx', bytes: new Uint8Array(4096), code: 'NOT_ONNX' },
]

/** One line for a person that names the file and what to do, and nothing of a stack. */
function expectOneLine(stderr: string, name: string): void {
  expect(stderr).toMatch(/^vitpass: [^\n]+; [^\n]+\n$/)
  expect(stderr).toContain(name)
  expect(stderr).not.toMatch(/ at .*:\d+:\d+|bug in vitpass/)
}

describe('a file that is no model', () => {
  it.each(BAD_FILES)('$name', ({ name, bytes, code }) => {
    const folder = temporaryFolder()
    if (bytes !== null) writeFileSync(join(folder, name), bytes)
    const before = snapshot(folder)
    const answer = vitpass(['run', name, '--passes', 'mask', '--json'], { cwd: folder })
    expect(answer.code).toBe(1)
    expectOneLine(answer.stderr, name)
    expect(JSON.parse(answer.stdout)).toMatchObject({ error: { code, where: name }, model: name, output: null })
    expect(snapshot(folder)).toEqual(before)
    const inspected = vitpass(['inspect', name], { cwd: folder })
    expect({ ...inspected, stderr: '' }).toEqual({ code: 1, stdout: '', stderr: '' })
    expectOneLine(inspected.stderr, name)
  })

  it('a folder', () => {
    const folder = temporaryFolder()
    mkdirSync(join(folder, 'model.onnx'))
    const { code, stdout, stderr } = vitpass(['run', 'model.onnx', '--passes', 'mask'], { cwd: folder })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expectOneLine(stderr, 'model.onnx')
    expect(readdirSync(folder)).toEqual(['model.onnx'])
  })

  it('a path through a file', () => {
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'file'), 'x')
    const { code, stderr } = vitpass(['run', 'file/model.onnx', '--passes', 'mask', '-o', 'out.onnx'], { cwd: folder })
    expect(code).toBe(1)
    expectOneLine(stderr, 'file/model.onnx')
  })

  it('a name with line breaks and terminal codes still gives one plain line', () => {
    const name = 'a\nb\u001b[31m.onnx'
    const { code, stderr } = vitpass(['run', name, '--passes', 'mask', '--dry-run'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^vitpass: a b \[31m\.onnx: [^\n]+\n$/)
  })
})

describe('a model that the passes cannot serve', () => {
  it.each([
    ['a convolutional network', convolutionalModel()],
    ['a model over token ids', textModel()],
  ])('%s', (_, bytes) => {
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'other.onnx'), bytes)
    const before = snapshot(folder)
    const args = ['run', 'other.onnx', '--passes', 'mask,posenc,zero', '--report', 'report.json']
    const { code, stdout, stderr } = vitpass(args, { cwd: folder })
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
    expect(stderr).toMatch(/\(pass \w+/)
    expectOneLine(stderr, 'other.onnx')
    const { 'report.json': report, ...rest } = snapshot(folder)
    expect(report).toBeDefined()
    expect(rest).toEqual(before)
    const document = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8'))
    expect(document).toMatchObject({ error: { code: 'PASS_REFUSED', where: 'other.onnx' }, output: null })
    expect(document.passes.at(-1)).toMatchObject({ status: 'refused', pass: document.error.pass })
    expect(document.passes.at(-1).refusals.length).toBeGreaterThan(0)

    const explained = vitpass(['run', 'other.onnx', '--passes', 'mask,posenc,zero', '--explain'], { cwd: folder })
    expect(explained.code).toBe(3)
    expect(explained.stdout).toMatch(/^ {2}refused: .+$/m)
    expect(explained.stdout).toMatch(/^nothing written$/m)
  })
})

describe('an output that cannot be written', () => {
  it.each([
    ['missing/out.onnx', 'the folder missing does not exist'],
    ['vit.onnx/out.onnx', 'the folder vit.onnx does not exist'],
    ['folder', 'this is a folder or a device, not a file'],
    ['/dev/null', 'this is a folder or a device, not a file'],
  ])('%s', (output, what) => {
    const folder = temporaryFolder()
    copyFileSync(FIXTURE, join(folder, 'vit.onnx'))
    mkdirSync(join(folder, 'folder'))
    const before = snapshot(folder)
    for (const flag of ['-o', '--report']) {
      const { code, stdout, stderr } = vitpass(['run', 'vit.onnx', '--passes', 'mask', flag, output], { cwd: folder })
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expectOneLine(stderr, `${output}: ${what}`)
      expect(snapshot(folder)).toEqual(before)
    }
  })

  it('a full disk leaves no partial file and the older output as it was', () => {
    const folder = temporaryFolder()
    copyFileSync(FIXTURE, join(folder, 'vit.onnx'))
    writeFileSync(join(folder, 'out.onnx'), 'older')
    const before = snapshot(folder)
    const { code, stdout, stderr } = shell('ulimit -f 20; $VITPASS run vit.onnx --passes mask -o out.onnx', {
      cwd: folder,
    })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expectOneLine(stderr, 'out.onnx')
    expect(snapshot(folder)).toEqual(before)
  })

  it('a full disk under --report is told, and leaves no partial report', () => {
    const folder = temporaryFolder()
    copyFileSync(FIXTURE, join(folder, 'vit.onnx'))
    const script = 'ulimit -f 0; $VITPASS run vit.onnx --passes mask --dry-run --report report.json'
    const { code, stdout, stderr } = shell(script, { cwd: folder })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expectOneLine(stderr, 'report.json')
    expect(readdirSync(folder)).toEqual(['vit.onnx'])
  })

  it('a full device behind stdout', () => {
    const { code, stderr } = shell('$VITPASS passes > /dev/full')
    expect(code).toBe(1)
    expect(stderr).toMatch(/^vitpass: stdout cannot be written [^\n]+\n$/)
  })

  it('a reader that goes away is no error', () => {
    expect(shell('set -o pipefail; $VITPASS passes | true')).toEqual({ code: 0, stdout: '', stderr: '' })
  })
})

describe('a signal while the output is written', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('%s ends the process and leaves no partial file', async (signal) => {
    const folder = temporaryFolder()
    writeLargeModel(join(folder, 'large.onnx'), FIXTURE, 400_000_000)
    const child = spawn(process.execPath, [MAIN, 'run', 'large.onnx', '--passes', 'mask'], {
      cwd: folder,
      stdio: 'pipe',
    })
    const closed = once(child, 'close')
    while (readdirSync(folder).length === 1 && child.exitCode === null) await sleep(2)
    expect(readdirSync(folder)).toHaveLength(2)
    child.kill(signal)
    expect(await closed).toEqual([null, signal])
    expect(readdirSync(folder)).toEqual(['large.onnx'])
  })
})

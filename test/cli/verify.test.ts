import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { plant, SPOILED } from '../verify/planted.ts'
import { FIXTURE, ROOT, shell, snapshot, temporaryFolder, vitpass } from './command.ts'

function workFolder(): string {
  const folder = temporaryFolder()
  copyFileSync(FIXTURE, join(folder, 'vit.onnx'))
  return folder
}

describe('vitpass verify', () => {
  it('shows every check of a right model, and is done', async () => {
    const folder = workFolder()
    await plant(FIXTURE, folder)
    const before = snapshot(folder)
    const { code, stdout, stderr } = vitpass(['verify', 'vit.onnx', 'transformed.onnx'], { cwd: folder })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^transformed\.onnx against vit\.onnx$/m)
    expect(stdout).toMatch(/^check +image +worst +tolerance +result$/m)
    expect(stdout).toMatch(/^alone +96x80 +\S+e-\d+ +1e-4 +ok/m)
    expect(stdout).toMatch(/^zero at padding +all +0 +0 +ok$/m)
    expect(stdout).toMatch(/^14 checks in fp32 on cpu: 14 ok, /m)
    expect(snapshot(folder)).toEqual(before)
  })

  it('ends with 4 and names what failed', async () => {
    const folder = workFolder()
    await plant(FIXTURE, folder, { spoil: SPOILED.maskMissing })
    const { code, stdout, stderr } = vitpass(['verify', 'vit.onnx', 'transformed.onnx'], { cwd: folder })
    expect(code).toBe(4)
    expect(stdout).toMatch(/^more padding +all +\S+ +1e-5 +failed: \w+\[[\d, ]+\] of \S+.* is \S+ instead of \S+$/m)
    expect(stderr).toMatch(/^vitpass: transformed\.onnx: .*alone, black patch, more padding.* failed; [^\n]+\n$/)
  })

  it('prints one JSON document, also when a check fails', async () => {
    const folder = workFolder()
    await plant(FIXTURE, folder, { spoil: SPOILED.tokensNotZeroed })
    const args = ['verify', 'vit.onnx', 'transformed.onnx', '--json', '--sizes', '64x64,32x80', '--sizes=16x16']
    const { code, stdout } = vitpass(args, { cwd: folder })
    expect(code).toBe(4)
    const document = JSON.parse(stdout)
    expect(document).toMatchObject({ error: { code: 'VERIFY_FAILED' }, passed: false, original: 'vit.onnx' })
    expect(document.checks).toContainEqual(expect.objectContaining({ check: 'zero at padding', status: 'failed' }))
    const alone = document.checks.filter(({ check }: { check: string }) => check === 'alone')
    expect(alone.map(({ image, status }: { image: string; status: string }) => `${image} ${status}`)).toEqual([
      '64x64 ok',
      '32x80 ok',
      '16x16 ok',
    ])
  })

  it('says which checks the original cannot be asked for', async () => {
    const folder = temporaryFolder()
    const original = join(ROOT, 'fixtures', 'vit-p16-g4', 'ts14-sdpa-static.onnx')
    await plant(original, folder)
    const { code, stdout } = vitpass(['verify', original, 'transformed.onnx'], { cwd: folder })
    expect(code).toBe(0)
    expect(stdout).toMatch(/^alone +64x64 .* ok/m)
    expect(stdout).toMatch(/^alone +32x80 +not possible: the original takes images of 64x64 only$/m)
  })

  it.each([
    [['verify', 'a.onnx'], 2, 'no model is given; see vitpass verify --help'],
    [
      ['verify', 'vit.onnx', 'vit.onnx', '--sizes', '64'],
      2,
      '--sizes cannot hold "64"; write it as in --sizes 64x64,32x80',
    ],
    [
      ['verify', 'vit.onnx', 'vit.onnx', '--sizes', '8x64'],
      2,
      'an image of 8x64 has no whole patch of 16x16; give larger sizes',
    ],
    [
      ['verify', 'vit.onnx', 'vit.onnx', '--tolerance', 'x'],
      2,
      '--tolerance cannot be "x"; give a number, such as 1e-3',
    ],
    [['verify', 'vit.onnx', 'none.onnx'], 1, 'none.onnx: there is no such file; check the path'],
  ])('%s is an error of one line', (args, code, line) => {
    const answer = vitpass(args, { cwd: workFolder() })
    expect(answer).toEqual({ code, stdout: '', stderr: `vitpass: ${line}\n` })
  })

  it('says how to install the runtime where it is missing', () => {
    const folder = workFolder()
    const packages = join(folder, 'node_modules')
    mkdirSync(packages)
    for (const name of ['yargs', 'protobufjs', 'cli-progress']) {
      symlinkSync(join(ROOT, 'node_modules', name), join(packages, name))
    }
    cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true })
    copyFileSync(join(ROOT, 'package.json'), join(folder, 'package.json'))
    const { code, stdout, stderr } = shell('node dist/src/cli/main.js verify vit.onnx vit.onnx', { cwd: folder })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(
      /^vitpass: running a model needs onnxruntime-node, which is not installed; `npm install [^\n]+\n$/,
    )
    expect(shell('node dist/src/cli/main.js passes', { cwd: folder }).code).toBe(0)
  })
})

describe('vitpass run --verify', () => {
  it('writes the model and tells the checks after the passes', () => {
    const folder = workFolder()
    const args = ['run', 'vit.onnx', '-p', 'padproof', '--verify', '--report', 'report.json']
    const { code, stdout, stderr } = vitpass(args, { cwd: folder })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^mask +applied(.|\n)+^alone +64x64 (.|\n)+^wrote vit\.vitpass\.onnx/m)
    expect(Object.keys(snapshot(folder)).sort()).toEqual(['report.json', 'vit.onnx', 'vit.vitpass.onnx'])
    const report = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8'))
    expect(report.verification).toMatchObject({ passed: true, original: 'vit.onnx', transformed: 'vit.vitpass.onnx' })
    const { code: again } = vitpass(['run', 'vit.onnx', '-p', 'padproof', '-o', 'plain.onnx'], { cwd: folder })
    expect(again).toBe(0)
    expect(snapshot(folder)['plain.onnx']).toBe(snapshot(folder)['vit.vitpass.onnx'])
  })

  it('writes nothing where the result is wrong', () => {
    const folder = workFolder()
    const before = snapshot(folder)
    const args = ['run', 'vit.onnx', '-p', 'padproof', '--option', 'posenc.kind=bilinear', '--verify']
    const text = vitpass(args, { cwd: folder })
    expect(text.code).toBe(4)
    expect(text.stdout).toMatch(/^posenc +applied(.|\n)+^alone +32x80 .* failed: /m)
    expect(text.stderr).toMatch(/^vitpass: vit\.vitpass\.onnx: .*alone failed; [^\n]+\n$/)
    const { code, stdout } = vitpass([...args, '--json'], { cwd: folder })
    expect(code).toBe(4)
    expect(JSON.parse(stdout)).toMatchObject({
      error: { code: 'VERIFY_FAILED' },
      output: null,
      verification: { passed: false },
    })
    expect(snapshot(folder)).toEqual(before)
  })

  it('verifies external data where it is to be written, and leaves no trace of it', () => {
    const folder = temporaryFolder()
    const name = 'dynamo18-sdpa-interp-b2-external.onnx'
    for (const file of [name, `${name}.data`]) {
      copyFileSync(join(ROOT, 'fixtures', 'vit-p8-g2-relu', file), join(folder, file))
    }
    const { code, stdout } = vitpass(['run', name, '-p', 'padproof', '-o', 'out.onnx', '--verify'], { cwd: folder })
    expect(code).toBe(0)
    expect(stdout).toMatch(/^zero for absent images +all +0 +0 +ok$/m)
    expect(Object.keys(snapshot(folder)).sort()).toEqual([name, `${name}.data`, 'out.onnx', 'out.onnx.data'].sort())
  })

  it('verifies with --dry-run too', () => {
    const folder = workFolder()
    const { code, stdout } = vitpass(['run', 'vit.onnx', '-p', 'padproof', '--verify', '--dry-run'], { cwd: folder })
    expect(code).toBe(0)
    expect(stdout).toMatch(/^unpadded +64x64 .*\n\n14 checks .*\nnothing written: dry run$/m)
    expect(existsSync(join(folder, 'vit.vitpass.onnx'))).toBe(false)
  })
})

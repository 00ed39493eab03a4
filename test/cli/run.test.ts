import { copyFileSync, existsSync, linkSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { FIXTURE, snapshot, temporaryFolder, vitpass } from './command.ts'

function workFolder(): { folder: string; model: string } {
  const folder = temporaryFolder()
  const model = join(folder, 'vit.onnx')
  copyFileSync(FIXTURE, model)
  return { folder, model }
}

describe('vitpass run', () => {
  it('writes <name>.vitpass.onnx beside the input, says what it did and leaves the input as it was', () => {
    const { folder, model } = workFolder()
    const before = snapshot(folder)
    const { code, stdout, stderr } = vitpass(['run', 'vit.onnx', '--passes', 'mask,posenc,zero'], { cwd: folder })
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^mask +applied .* 2 softmaxes/m)
    expect(stdout).toMatch(/^dynshape\* /m)
    expect(stdout).toMatch(/^wrote vit\.vitpass\.onnx \(\d+ kB\)$/m)
    expect(Object.keys(snapshot(folder)).sort()).toEqual(['vit.onnx', 'vit.vitpass.onnx'])
    expect(snapshot(folder)['vit.onnx']).toBe(before['vit.onnx'])
    expect(readFileSync(join(folder, 'vit.vitpass.onnx')).equals(readFileSync(model))).toBe(false)
  })

  it('prints one JSON document, and writes the same one to --report', () => {
    const { folder } = workFolder()
    const args = ['run', 'vit.onnx', '-p', 'padproof', '-o', 'out.onnx', '--json', '--report', 'report.json']
    const { code, stdout, stderr } = vitpass(args, { cwd: folder })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const document = JSON.parse(stdout)
    expect(document).toMatchObject({ model: 'vit.onnx', output: 'out.onnx', dryRun: false })
    expect(document.bytes).toBe(readFileSync(join(folder, 'out.onnx')).length)
    expect(document.passes.map((report: { pass: string }) => report.pass)).toEqual([
      'canonical',
      'eager',
      'dynshape',
      'mask',
      'posenc',
      'zero',
    ])
    expect(JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8'))).toEqual(document)
    expect(Object.keys(snapshot(folder)).sort()).toEqual(['out.onnx', 'report.json', 'vit.onnx'])
  })

  it('reads an option that is a tensor from a .npy file', () => {
    const { folder } = workFolder()
    const run = (table: string) =>
      vitpass(['run', 'vit.onnx', '-p', 'posenc', '--option', `posenc.table=${table}`], { cwd: folder })
    expect(run('none.npy')).toMatchObject({ code: 2, stderr: expect.stringMatching(/none\.npy cannot be read/) })
    expect(run('vit.onnx')).toMatchObject({ code: 2, stderr: expect.stringMatching(/vit\.onnx is no \.npy file/) })
    const header = `${"{'descr': '<f4', 'fortran_order': False, 'shape': (16, 32), }".padEnd(117)}\n`
    const head = Buffer.from(`\x93NUMPY\x01\x00\x76\x00${header}`, 'latin1')
    writeFileSync(join(folder, 'table.npy'), Buffer.concat([head, Buffer.alloc(16 * 32 * 4)]))
    const { code, stderr } = run('table.npy')
    expect(code).toBe(3)
    expect(stderr).toMatch(/the file still has its own position table/)
    expect(Object.keys(snapshot(folder)).sort()).toEqual(['table.npy', 'vit.onnx'])
  })

  it('keeps outputs that blend neighbours with --allow-dense only, names them, and verifies the others', () => {
    const folder = temporaryFolder()
    copyFileSync(join(FIXTURE, '..', '..', 'refuse-convnext', 'ts14-eager-static.onnx'), join(folder, 'dense.onnx'))
    const args = ['run', 'dense.onnx', '-p', 'mask,zero', '--explain']
    const refused = vitpass(args, { cwd: folder })
    expect(refused.code).toBe(3)
    expect(refused.stderr).toContain('a convolution after the patch embedding mixes neighbours')
    const { code, stdout } = vitpass([...args, '--allow-dense'], { cwd: folder })
    expect(code).toBe(0)
    expect(stdout).toMatch(/output pooler_output is not exact: a convolution .* \(Conv /)
    const verified = vitpass(['verify', 'dense.onnx', 'dense.vitpass.onnx'], { cwd: folder })
    expect(verified.code).toBe(4)
    expect(verified.stdout).toMatch(/^output pooler_output .* not possible: padded neighbours are blended into it/m)
    expect(verified.stdout).toMatch(/^padded batch .* not possible: no output can be compared/m)
  })

  it('sets options of passes, and records them in the model', () => {
    const { folder } = workFolder()
    const args = [
      'run',
      'vit.onnx',
      '--passes=mask',
      '--option',
      'mask.source=sizes',
      '--option=mask.tol=0.5',
      '--json',
    ]
    const { stdout, code } = vitpass(args, { cwd: folder })
    expect(code).toBe(0)
    const mask = JSON.parse(stdout).passes.find((report: { pass: string }) => report.pass === 'mask')
    expect(mask.options).toMatchObject({ source: 'sizes', tol: 0.5 })
    expect(readFileSync(join(folder, 'vit.vitpass.onnx')).includes('image_sizes')).toBe(true)
  })

  it('says so when everything was applied before, and is done', () => {
    const { folder } = workFolder()
    vitpass(['run', 'vit.onnx', '-p', 'mask,posenc,zero', '-o', 'once.onnx'], { cwd: folder })
    const { code, stdout } = vitpass(['run', 'once.onnx', '-p', 'mask,posenc,zero', '-o', 'twice.onnx'], {
      cwd: folder,
    })
    expect(code).toBe(0)
    expect(stdout).toMatch(/^mask +already applied/m)
    expect(snapshot(folder)['twice.onnx']).toBe(snapshot(folder)['once.onnx'])
  })

  it('ends with 3 when a pass that was asked for finds nothing to do', () => {
    const { folder } = workFolder()
    const { code, stdout, stderr } = vitpass(['run', 'vit.onnx', '-p', 'eager,mask', '--json'], { cwd: folder })
    expect(code).toBe(3)
    expect(stderr).toBe('vitpass: vit.onnx: nothing to do for eager\n')
    expect(JSON.parse(stdout).passes).toContainEqual(
      expect.objectContaining({ pass: 'eager', status: 'nothing', added: false }),
    )
    expect(existsSync(join(folder, 'vit.vitpass.onnx'))).toBe(true)
  })

  it('explains each pass: status, options, every site', () => {
    const { folder } = workFolder()
    const { code, stdout } = vitpass(['run', 'vit.onnx', '-p', 'mask', '--explain', '--dry-run'], { cwd: folder })
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /^mask: applied\n {2}options: source=pixels, mode=rect, padValue=0, tol=0, allowDense=false\n {2}2 softmaxes$/m,
    )
    expect(stdout).toMatch(/^canonical: applied, added/m)
  })

  it('does all but write with --dry-run', () => {
    const { folder } = workFolder()
    const before = snapshot(folder)
    const { code, stdout } = vitpass(['run', 'vit.onnx', '-p', 'mask', '--dry-run'], { cwd: folder })
    expect(code).toBe(0)
    expect(stdout).toMatch(/^nothing written: dry run$/m)
    expect(snapshot(folder)).toEqual(before)
  })

  it('replaces an older output, also with --durable', () => {
    const { folder } = workFolder()
    writeFileSync(join(folder, 'out.onnx'), 'older')
    expect(vitpass(['run', 'vit.onnx', '-p', 'mask', '-o', 'out.onnx', '--durable'], { cwd: folder }).code).toBe(0)
    expect(readFileSync(join(folder, 'out.onnx')).length).toBeGreaterThan(100_000)
    expect(Object.keys(snapshot(folder)).sort()).toEqual(['out.onnx', 'vit.onnx'])
  })

  it.each(['vit.onnx', './vit.onnx', 'linked.onnx', 'hard.onnx'])(
    'does not write over the input, here called %s',
    (output) => {
      const { folder, model } = workFolder()
      symlinkSync(model, join(folder, 'linked.onnx'))
      linkSync(model, join(folder, 'hard.onnx'))
      const before = snapshot(folder)
      const { code, stdout, stderr } = vitpass(['run', 'vit.onnx', '-p', 'mask', '-o', output], { cwd: folder })
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
      expect(stderr).toBe(
        `vitpass: ${output}: -o is the input itself; give another path, or --force to replace the input\n`,
      )
      expect(snapshot(folder)).toEqual(before)
    },
  )

  it('writes over the input when told to', () => {
    const { folder } = workFolder()
    const before = snapshot(folder)
    const { code, stderr } = vitpass(['run', 'vit.onnx', '-p', 'mask', '-o', 'vit.onnx', '--force'], { cwd: folder })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const after = snapshot(folder)
    expect(Object.keys(after)).toEqual(['vit.onnx'])
    expect(after['vit.onnx']).not.toBe(before['vit.onnx'])
    expect(vitpass(['run', 'vit.onnx', '-p', 'mask', '--dry-run'], { cwd: folder }).stdout).toMatch(
      /^mask +already applied/m,
    )
  })
})

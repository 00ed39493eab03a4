import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { plant } from '../verify/planted.ts'
import { FIXTURE, ROOT, snapshot, temporaryFolder, vitpass } from './command.ts'

describe('vitpass diff', () => {
  it('shows what passes changed, and answers 0', async () => {
    const folder = temporaryFolder()
    await plant(FIXTURE, folder, { options: { mask: { source: 'sizes' } } })
    const before = snapshot(folder)
    const { code, stdout, stderr } = vitpass(['diff', FIXTURE, 'transformed.onnx'], { cwd: folder })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^nodes +230 -> \d+: \d+ unchanged, \d+ on changed inputs, \d+ removed, \d+ added$/m)
    expect(stdout).toMatch(/^operator +Resize 1 -> 0$/m)
    expect(stdout).toMatch(/^input +image_sizes added: int64 \[batch, 2\]$/m)
    expect(stdout).toMatch(/^output +last_hidden_state is computed otherwise$/m)
    expect(stdout).toMatch(/^initializer +\d+ under 1\.0 kB added$/m)
    expect(stdout).toMatch(/^metadata +vitpass added: \{"version":1/m)
    expect(stdout).toMatch(/^different$/m)
    expect(snapshot(folder)).toEqual(before)
  })

  it('prints the same as JSON', async () => {
    const folder = temporaryFolder()
    await plant(FIXTURE, folder)
    const { code, stdout } = vitpass(['diff', FIXTURE, 'transformed.onnx', '--json'], { cwd: folder })
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      before: FIXTURE,
      after: 'transformed.onnx',
      same: false,
      operators: expect.arrayContaining([{ name: 'Resize', before: 1, after: null }]),
      recomputed: ['last_hidden_state', 'pooler_output'],
    })
  })

  it('answers with --exit-code whether they differ', () => {
    const other = join(ROOT, 'fixtures', 'vit-p16-g4', 'ts14-sdpa-static.onnx')
    expect(vitpass(['diff', FIXTURE, other, '--exit-code'])).toMatchObject({ code: 1, stderr: '' })
    const same = vitpass(['diff', FIXTURE, FIXTURE, '--exit-code'])
    expect(same).toMatchObject({ code: 0, stderr: '' })
    expect(same.stdout).toMatch(/^the same$/m)
  })

  it('reads external data', () => {
    const external = join(ROOT, 'fixtures', 'vit-p8-g2-relu', 'dynamo18-sdpa-interp-b2-external.onnx')
    expect(vitpass(['diff', external, external]).stdout).toMatch(/^the same$/m)
  })

  it('names the file that it cannot read', () => {
    expect(vitpass(['diff', FIXTURE, 'none.onnx'])).toEqual({
      code: 1,
      stdout: '',
      stderr: 'vitpass: none.onnx: there is no such file; check the path\n',
    })
  })
})

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { convolutionalModel } from '../support/other-models.ts'
import { FIXTURE, ROOT, snapshot, temporaryFolder, vitpass } from './command.ts'

describe('vitpass inspect', () => {
  it('shows the anatomy and which passes fit', () => {
    const { code, stdout, stderr } = vitpass(['inspect', FIXTURE])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^input +pixel_values: float \[batch, 3, height, width\]$/m)
    expect(stdout).toMatch(/^patch +16 x 16 into 32, by /m)
    expect(stdout).toMatch(/^prefix +1 token before the patches$/m)
    expect(stdout).toMatch(/^positions +4 x 4, 1 row before it, resized cubic at /m)
    expect(stdout).toMatch(/^attention +2 blocks of 2 heads$/m)
    expect(stdout).toMatch(/^eager +nothing to do; there is no fused attention$/m)
    expect(stdout).toMatch(/^mask +fits$/m)
  })

  it('prints one JSON document, with the size of external data', () => {
    const model = join(ROOT, 'fixtures', 'vit-p8-g2-relu', 'dynamo18-sdpa-interp-b2-external.onnx')
    const { code, stdout } = vitpass(['inspect', model, '--json'])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      model,
      bytes: 59413,
      externalBytes: 64140,
      anatomy: { patch: { height: 8, width: 8 }, hidden: 32, blocks: 1 },
      notRead: null,
      passes: expect.arrayContaining([expect.objectContaining({ pass: 'posenc', fits: true })]),
    })
  })

  it('says what the export has fixed', () => {
    const { stdout } = vitpass(['inspect', join(ROOT, 'fixtures', 'vit-p16-g4', 'dynamo18-eager-batch-b2.onnx')])
    expect(stdout).toMatch(/^fixed +height 64, width 64, patches 16$/m)
    expect(stdout).toMatch(/^dynshape +fits/m)
  })

  it.each([
    ['dinov3-p16-g4/ts17-eager-interp', /^positions +rotary, separate coordinates in 8 places, first at /m],
    [
      'dinov3-p16-g4/dynamo23-sdpa-static-b2',
      /^positions +rotary, .* made for 4 x 4 patches: wrong at other sizes in 8 places/m,
    ],
    ['timm-dinov3-p16-g4/dynamo18-sdpa-interp', /^positions +rotary, .* made for 3 x 5 patches: wrong at other sizes/m],
    [
      'timm-eva02-p14-g4/dynamo20-eager-interp-b2',
      /^positions +4 x 4, 1 row .*\npositions +rotary, stretch coordinates/m,
    ],
  ])('tells the rotary positions of %s', (file, told) => {
    const { stdout } = vitpass(['inspect', join(ROOT, 'fixtures', `${file}.onnx`)])
    expect(stdout).toMatch(told)
    expect(stdout).toMatch(/^posenc +fits/m)
  })

  it('answers for a model that no pass fits, with the reason', () => {
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'cnn.onnx'), convolutionalModel())
    const before = snapshot(folder)
    const { code, stdout, stderr } = vitpass(['inspect', 'cnn.onnx'], { cwd: folder })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^(not read as a vision transformer|problem)/m)
    expect(stdout).toMatch(/^mask +refused/m)
    expect(snapshot(folder)).toEqual(before)
  })
})

describe('vitpass passes', () => {
  it('lists passes, options and presets', () => {
    const { code, stdout, stderr } = vitpass(['passes'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(
      /^mask\n {4}\S.*\n {4}requires eager, dynshape\n {4}mask\.source=pixels +\S.*\(pixels, sizes\)$/m,
    )
    expect(stdout).toMatch(/^ {2}padproof {2}eager,dynshape,mask,posenc,zero$/m)
  })

  it('prints the same as JSON', () => {
    const { passes, presets } = JSON.parse(vitpass(['passes', '--json']).stdout)
    expect(passes.map(({ name }: { name: string }) => name)).toEqual(registry.passes.map(({ name }) => name))
    expect(passes).toContainEqual(
      expect.objectContaining({
        name: 'mask',
        requires: ['eager', 'dynshape'],
        options: expect.objectContaining({
          mode: expect.objectContaining({ default: 'rect', choices: ['rect', 'patch'] }),
        }),
      }),
    )
    expect(presets).toEqual(registry.presets)
  })
})

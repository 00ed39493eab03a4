import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { CheckResult, VerifyReport } from '../../src/verify/report.ts'
import { type VerifyOptions, verifyModels } from '../../src/verify/verify.ts'
import { fixture } from '../support/fixtures.ts'
import { type Planting, plant, SPOILED } from './planted.ts'

const FOLDER = mkdtempSync(join(tmpdir(), 'vitpass-verify-'))
afterAll(() => rmSync(FOLDER, { recursive: true }))

const FIXTURES = join(import.meta.dirname, '../../fixtures')
const VIT = fixture('vit-p16-g4/ts17-eager-interp.onnx').path
const HIDDEN = fixture('ts14-eager-interp-hs-att.onnx').path

async function verified(original: string, planting?: Planting, options?: VerifyOptions): Promise<VerifyReport> {
  return verifyModels(original, await plant(original, FOLDER, planting), options)
}

function names({ checks }: VerifyReport, status: CheckResult['status']): string[] {
  return [...new Set(checks.filter((result) => result.status === status).map(({ check }) => check))]
}

function about({ checks }: VerifyReport, check: string): CheckResult[] {
  return checks.filter((result) => result.check === check)
}

describe('a right model', () => {
  it('passes every check', async () => {
    const report = await verified(VIT)
    expect(names(report, 'failed')).toEqual([])
    expect(names(report, 'not possible')).toEqual([])
    expect(report).toMatchObject({ passed: true, precision: 'fp32', providers: ['cpu'], notes: [] })
    expect(about(report, 'alone').map(({ image }) => image)).toEqual(['64x64', '32x80', '80x32', '16x16', '96x80'])
    expect(names(report, 'ok')).toEqual([
      'alone',
      'black patch',
      'more padding',
      'padding of no whole patch',
      'order',
      'companions',
      'beside absent images',
      'zero at padding',
      'zero for absent images',
      'unpadded',
    ])
  })

  it.each([
    ['deit-p16-g4/ts17-eager-interp-int8-qdq.onnx', 'int8'],
    ['deit-p16-g4/ts17-eager-interp-int8-dynamic.onnx', 'dynamic int8'],
  ])('%s is run as it is written, and answers as its original does alone', async (name, precision) => {
    const report = await verified(join(FIXTURES, name))
    expect(report).toMatchObject({ passed: true, precision })
    const alone = about(report, 'alone').map(({ worst }) => worst ?? Number.NaN)
    expect(alone).toHaveLength(5)
    expect(alone.filter((worst) => worst < 1e-4).length).toBeGreaterThan(3)
  })

  it('gets its sizes fed, and noise instead of zeros in its padding', async () => {
    const sizes = [
      { height: 64, width: 64 },
      { height: 41, width: 63 },
    ]
    const report = await verified(VIT, { options: { mask: { source: 'sizes' } } }, { sizes })
    expect(report.passed).toBe(true)
    expect(names(report, 'ok')).toContain('noise in the padding')
    expect(about(report, 'alone').map(({ image, status }) => [image, status])).toEqual([
      ['64x64', 'ok'],
      ['41x63', 'ok'],
    ])
  })

  it('is held to what its own padding value and tolerance make of an image', async () => {
    const report = await verified(VIT, { options: { mask: { padValue: 7, tol: 3 } } })
    expect(names(report, 'failed')).toEqual([])
  })

  it('in half precision is held to what half precision holds', async () => {
    const report = await verified(fixture('ts17-eager-interp-fp16.onnx').path)
    expect(report).toMatchObject({ passed: true, precision: 'fp16' })
    const worst = Math.max(...report.checks.map((result) => result.worst ?? 0))
    expect(worst).toBeGreaterThan(1e-4)
  })

  it('with mode=patch hides a black patch, which alone is seen', async () => {
    const report = await verified(VIT, { options: { mask: { mode: 'patch' } } })
    expect(report.passed).toBe(true)
    expect(names(report, 'ok')).not.toContain('black patch')
  })

  it('without zeros is not blamed for what it does not promise', async () => {
    const report = await verified(VIT, { passes: ['mask', 'posenc'] })
    expect(report.passed).toBe(true)
    expect(about(report, 'zero at padding')).toMatchObject([
      { status: 'not possible', reason: 'pass zero was not applied' },
    ])
  })

  it('without a mask is compared image by image only', async () => {
    const report = await verified(VIT, { passes: ['canonical'] })
    expect(report.passed).toBe(true)
    expect(about(report, 'unpadded')).toHaveLength(5)
    expect(about(report, 'padded batch')).toMatchObject([{ status: 'not possible' }])
  })
})

describe('an original that knows one size', () => {
  it.each([
    ['vit-p16-g4/ts14-sdpa-static.onnx', 'the original takes images of 64x64 only'],
    ['vit-p16-g4/optimum14-sdpa-names-t4.onnx', 'the original has positions for a grid of 4x4 patches only'],
    ['vit-p16-g4/dynamo20-eager-interp-native.onnx', 'the original takes square images only'],
    ['vit-cls-p8-g4/dynamo18-eager-static-b2-t4.onnx', 'the original takes images of 32x32 only'],
  ])('%s is asked at that size; the rest is said to be not possible', async (name, reason) => {
    const report = await verified(fixture(name).path)
    expect(names(report, 'failed')).toEqual([])
    expect(about(report, 'alone').map(({ status }) => status)).toEqual(['ok', ...new Array(4).fill('not possible')])
    expect(about(report, 'alone')[1]?.reason).toBe(reason)
    expect(about(report, 'unpadded')).toMatchObject([{ status: 'ok' }])
  })

  it('does not make a model verified where nothing could be compared', async () => {
    const original = fixture('vit-p16-g4/ts14-sdpa-static.onnx').path
    const report = await verified(original, { passes: ['canonical'] }, { sizes: [{ height: 32, width: 32 }] })
    expect(names(report, 'failed')).toEqual([])
    expect(report.passed).toBe(false)
  })
})

describe('a planted fault', () => {
  it.each([
    ['a missing mask', SPOILED.maskMissing, ['alone', 'black patch', 'more padding']],
    ['a mask on queries', SPOILED.maskOnQueries, ['alone', 'black patch', 'more padding']],
    ['a turned grid', SPOILED.gridTurned, ['alone']],
    ['the grid of the tallest image', SPOILED.gridOfBatch, ['alone', 'companions']],
    ['tokens that are not zeroed', SPOILED.tokensNotZeroed, ['zero at padding', 'zero for absent images']],
    ['an absent image that is pooled', SPOILED.pooledNotZeroed, ['zero for absent images']],
    ['two outputs swapped', SPOILED.outputsSwapped('last_hidden_state', 'pooler_output'), ['output last_hidden_state']],
    ['an output that is not there', SPOILED.outputMissing('pooler_output'), ['output pooler_output']],
    ['a model that the runtime refuses', SPOILED.axisWrong, ['opens']],
  ])('is found: %s', async (_, spoil, failed) => {
    const report = await verified(VIT, { spoil })
    expect(report.passed).toBe(false)
    expect(names(report, 'failed')).toEqual(expect.arrayContaining(failed))
    if (failed.includes('zero for absent images')) expect(names(report, 'failed')).toEqual(failed)
    expect(names(report, 'failed').includes('unpadded')).toBe(false)
  })

  it('is found: two hidden states of one shape swapped, both named', async () => {
    const report = await verified(HIDDEN, { spoil: SPOILED.outputsSwapped('hidden_states.1', 'hidden_states.2') })
    expect(names(report, 'failed')).toEqual(['alone', 'black patch', 'unpadded'])
    for (const { where } of about(report, 'alone'))
      expect(where).toMatch(/^hidden_states\.[12]\[\d+, \d+\] of \d+x\d+ is /)
  })

  it('is found: positions resized in another way than the original does', async () => {
    const report = await verified(VIT, { options: { posenc: { kind: 'bilinear' } } })
    expect(names(report, 'failed')).toEqual(['alone'])
    expect(about(report, 'alone').map(({ image, status }) => `${image} ${status}`)).toContain('64x64 ok')
  })

  it('is found in a model that says nothing of itself: it is held to everything', async () => {
    const report = await verifyModels(VIT, VIT)
    expect(names(report, 'failed')).toEqual(
      expect.arrayContaining(['alone', 'zero at padding', 'zero for absent images']),
    )
    expect(names(report, 'ok')).toContain('unpadded')
  })
})

describe('options', () => {
  it('take a tolerance for all but zeros', async () => {
    const strict = await verified(VIT, {}, { tolerance: 0 })
    expect(names(strict, 'failed')).toContain('alone')
    const loose = await verified(VIT, { spoil: SPOILED.tokensNotZeroed }, { tolerance: 100 })
    expect(names(loose, 'failed')).toEqual(['zero at padding', 'zero for absent images'])
  })

  it('take no size without a patch', async () => {
    await expect(verified(VIT, {}, { sizes: [{ height: 64, width: 8 }] })).rejects.toMatchObject({
      code: 'USAGE',
      message: 'an image of 64x8 has no whole patch of 16x16',
    })
  })

  it('say that a patch begun cannot be compared where padding is told from pixels', async () => {
    const report = await verified(
      VIT,
      {},
      {
        sizes: [
          { height: 64, width: 64 },
          { height: 41, width: 63 },
        ],
      },
    )
    expect(report.passed).toBe(true)
    expect(about(report, 'alone')).toMatchObject([{ status: 'ok' }, { image: '41x63', status: 'not possible' }])
  })

  it('name a provider that this machine lacks', async () => {
    await expect(verified(VIT, {}, { providers: ['abacus'] })).rejects.toMatchObject({
      code: 'RUNTIME_FAILED',
      message: expect.stringContaining('abacus'),
    })
  })
})

import { existsSync, readdirSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { PassRefusedError, run } from '../src/index.ts'
import { readModel } from '../src/onnx/node.ts'
import { sharesScale } from '../src/verify/golden-subject.ts'
import { caseNames, type ExportEntry, exportPath, loadCase } from './support/cases.ts'
import { describeMeasured, type Measured } from './support/measure.ts'
import { checkProperties } from './support/properties.ts'
import { MASKINGS, transformAndCheck } from './support/transform.ts'

const ROOT = resolve(import.meta.dirname, '..')
const PASSES = ['mask', 'posenc', 'zero']
const cases = caseNames(ROOT).map((name) => loadCase(ROOT, name))

function failures(measured: readonly Measured[]): string[] {
  return measured.filter(({ ok }) => !ok).map(describeMeasured)
}

describe('fixtures and goldens', () => {
  it('has exports for every case, each a file', () => {
    expect(cases.length).toBeGreaterThan(0)
    for (const goldenCase of cases) {
      expect(goldenCase.models, goldenCase.name).not.toHaveLength(0)
      const missing = goldenCase.models
        .map((entry) => exportPath(goldenCase, entry))
        .filter((path) => !existsSync(path))
      expect(missing).toEqual([])
    }
  })

  it('has a case for every ONNX file', () => {
    const known = cases.flatMap((goldenCase) => goldenCase.models.map((entry) => exportPath(goldenCase, entry)))
    const files = readdirSync(join(ROOT, 'fixtures'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.onnx'))
      .map((file) => join(ROOT, 'fixtures', file))
    expect(files.sort()).toEqual(known.sort())
  })
})

describe('the measure itself', () => {
  const untouched = async (entry: ExportEntry): Promise<string[]> => {
    const goldenCase = cases.find(({ models }) => models.includes(entry)) ?? expect.fail('the entry has no case')
    const path = exportPath(goldenCase, entry)
    const measured = await checkProperties({
      transformed: path,
      original: path,
      goldenCase,
      entry,
      masking: { source: 'pixels', mode: 'rect' },
      zeroed: true,
      sharesScale: sharesScale(await readModel(path)),
    })
    return measured.filter(({ ok }) => !ok).map(({ name }) => name)
  }
  const interpolating = cases
    .filter(({ origin }) => origin.refuse === undefined)
    .flatMap(({ models }) => models)
    .filter(({ dynamic, rightAlone }) => dynamic === 'interp' && rightAlone.length > 1)

  it.each(interpolating)('rejects $file untouched', async (entry) => {
    const failed = await untouched(entry)
    expect(failed).toContain(entry.precision === 'int8' ? 'original alone' : 'golden')
    expect(failed).toContain('more padding')
    expect(failed).toContain('absent image')
    expect(failed).not.toContain('original')
  })
})

/** Models that take any size natively are held to their goldens in test/runtime/native.test.ts. */
const padded = cases.filter(({ origin }) => origin.native !== true || origin.refuse !== undefined)

for (const goldenCase of padded) {
  describe(goldenCase.name, () => {
    for (const entry of goldenCase.models) {
      const file = join(basename(dirname(entry.file)), basename(entry.file))
      if (goldenCase.origin.refuse !== undefined) {
        it(`${file} is refused with a node and a reason`, async () => {
          const model = await readModel(exportPath(goldenCase, entry))
          const error = await run(model, PASSES).catch((thrown: unknown) => thrown)
          if (!(error instanceof PassRefusedError)) throw error ?? new Error('nothing was refused')
          expect(error.refusals[0]?.reason).toMatch(/./)
        })
        continue
      }
      it.each(MASKINGS)(`${file} is padding-proof with source=$source mode=$mode`, async (masking) => {
        const measured = await transformAndCheck(goldenCase, entry, PASSES, masking)
        expect(measured.length).toBeGreaterThan(5)
        expect(failures(measured)).toEqual([])
      })
    }
  })
}

import { describe, expect, it } from 'vitest'
import { onlyOne, parsePassNames, parsePassOptions } from '../../src/cli/flags.ts'
import { findIdle } from '../../src/cli/run-report.ts'
import { formatBytes } from '../../src/cli/table.ts'
import type { PassReport } from '../../src/pipeline/report.ts'

describe('parsePassOptions', () => {
  it('takes values with =, dots, blanks and nothing in them', () => {
    expect(parsePassOptions(['mask.source=a=b.c', 'mask.note=two words', 'zero.text='])).toEqual({
      mask: { source: 'a=b.c', note: 'two words' },
      zero: { text: '' },
    })
    expect(parsePassOptions(undefined)).toEqual({})
  })

  it.each(['source=sizes', 'mask.source', '.source=x', 'mask.=x', '', '=', 'mask'])('refuses "%s"', (flag) => {
    expect(() => parsePassOptions([flag])).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })

  it('holds names that objects have already', () => {
    const options = parsePassOptions(['__proto__.polluted=1', 'mask.__proto__=2'])
    expect(Object.keys(options)).toEqual(['__proto__', 'mask'])
    expect({}).not.toHaveProperty('polluted')
  })
})

describe('parsePassNames', () => {
  it('joins lists and drops blanks', () => {
    expect(parsePassNames(['mask, posenc,', 'zero'])).toEqual(['mask', 'posenc', 'zero'])
  })
})

describe('onlyOne', () => {
  it('gives the value, and refuses two or an empty one', () => {
    expect(onlyOne('-o', undefined)).toBeUndefined()
    expect(onlyOne('-o', ['a'])).toBe('a')
    expect(() => onlyOne('-o', ['a', 'a'])).toThrow('-o is given 2 times')
    expect(() => onlyOne('-o', [''])).toThrow('-o is empty')
  })
})

describe('findIdle', () => {
  const report = (pass: string, status: PassReport['status']): PassReport => ({
    pass,
    version: 1,
    options: {},
    added: false,
    status,
    sites: {},
    notes: [],
    refusals: [],
    nodesBefore: 1,
    nodesAfter: 1,
    seconds: 0,
  })

  it('names what was asked for and found nothing; a preset only where all of it did', () => {
    const reports = [
      report('canonical', 'nothing'),
      report('eager', 'nothing'),
      report('mask', 'applied'),
      report('zero', 'already'),
    ]
    expect(findIdle(reports, [['mask'], ['zero']])).toEqual([])
    expect(findIdle(reports, [['eager'], ['mask']])).toEqual(['eager'])
    expect(findIdle(reports, [['eager', 'mask']])).toEqual([])
    expect(findIdle(reports, [['canonical', 'eager']])).toEqual(['canonical,eager'])
  })
})

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [210_756, '211 kB'],
    [9_999_999, '10.0 MB'],
    [345_700_000, '346 MB'],
    [3_200_000_000, '3.2 GB'],
  ])('%d is %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text)
  })
})

import { VitpassError } from '../errors.ts'
import type { OptionsByPass } from '../pipeline/options.ts'

/** A flag's values: yargs gives a list, for each time that it is given. */
export type FlagValues = readonly string[] | undefined

/** A flag with a value. Every time that it is given counts, so that giving it twice can be told from giving it once. */
export const TEXT = {
  type: 'string',
  nargs: 1,
  coerce: (given: string | string[]): string[] => [given].flat(),
} as const

/**
 * The value of a flag that names one thing.
 * @throws VitpassError USAGE where it is repeated or empty
 */
export function onlyOne(flag: string, values: FlagValues): string | undefined {
  const [value, ...more] = values ?? []
  if (more.length > 0)
    throw new VitpassError('USAGE', `${flag} is given ${more.length + 1} times`, { remedy: 'give it once' })
  if (value === '') throw new VitpassError('USAGE', `${flag} is empty`, { remedy: 'give it a value or leave it out' })
  return value
}

/**
 * Reads `--passes a,b,c`, which may be repeated.
 * @throws VitpassError USAGE where no name is given
 */
export function parsePassNames(values: FlagValues): string[] {
  const names = (values ?? []).flatMap((value) => value.split(',').map((name) => name.trim()))
  const named = names.filter((name) => name !== '')
  if (named.length === 0) {
    throw new VitpassError('USAGE', '--passes names no pass', { remedy: '`vitpass passes` lists them' })
  }
  return named
}

/**
 * Reads `--option pass.key=value` flags; a value may hold `=` and dots.
 * @throws VitpassError USAGE for a flag of another form and for one that is given twice
 */
export function parsePassOptions(values: FlagValues): OptionsByPass {
  const byPass = new Map<string, Map<string, string>>()
  for (const flag of values ?? []) {
    const [, pass, key, value] = /^([^.=]+)\.([^=]+)=(.*)$/s.exec(flag) ?? []
    if (pass === undefined || key === undefined || value === undefined) {
      throw new VitpassError('USAGE', `--option "${flag}" is not of the form pass.key=value`, {
        remedy: 'write it as in --option mask.source=sizes',
      })
    }
    const own = byPass.get(pass) ?? new Map<string, string>()
    if (own.has(key))
      throw new VitpassError('USAGE', `--option ${pass}.${key} is given twice`, { remedy: 'give it once' })
    byPass.set(pass, own.set(key, value))
  }
  return Object.fromEntries([...byPass].map(([pass, own]) => [pass, Object.fromEntries(own)]))
}

/** Reads `--sizes 64x64,32x80`: height and width in pixels. @throws VitpassError USAGE for another form */
export function parseSizes(values: FlagValues): { height: number; width: number }[] {
  return listOf(values).map((text) => {
    const [, height, width] = /^([1-9]\d*)x([1-9]\d*)$/.exec(text) ?? []
    if (height === undefined || width === undefined) {
      throw new VitpassError('USAGE', `--sizes cannot hold "${text}"`, { remedy: 'write it as in --sizes 64x64,32x80' })
    }
    return { height: Number(height), width: Number(width) }
  })
}

/** Values parted by commas, of a flag that may be repeated; none where it is not given. */
export function listOf(values: FlagValues): string[] {
  return (values ?? []).flatMap((value) => value.split(',').map((part) => part.trim())).filter((part) => part !== '')
}

/** Reads `--tolerance`; undefined where it is not given. @throws VitpassError USAGE for anything but a number that is not negative */
export function parseTolerance(values: FlagValues): number | undefined {
  const given = onlyOne('--tolerance', values)
  const number = Number(given)
  if (given === undefined) return undefined
  if (number >= 0 && Number.isFinite(number)) return number
  throw new VitpassError('USAGE', `--tolerance cannot be "${given}"`, { remedy: 'give a number, such as 1e-3' })
}

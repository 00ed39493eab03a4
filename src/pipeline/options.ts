import { VitpassError } from '../errors.ts'
import type { OptionSpec, OptionValue, Pass, PassOptions } from './pass.ts'
import { TensorOption } from './tensor-option.ts'

/** An option that is two lengths, `ROWSxCOLS` or `HEIGHTxWIDTH`, or `auto`. */
export function pairOption(describe: string, wanted: string): OptionSpec {
  return { describe, type: 'string', default: 'auto', pattern: { regex: /^(auto|[1-9]\d*x[1-9]\d*)$/, wanted } }
}

/** The two lengths of such an option; null for `auto`. */
export function readPair(value: OptionValue | undefined): readonly [number, number] | null {
  const [first, second] = String(value).split('x').map(Number)
  return first === undefined || second === undefined ? null : [first, second]
}

/** Options by pass, as the library takes them: `{ mask: { mode: 'rect' } }`. */
export type OptionsByPass = Readonly<Record<string, Readonly<Record<string, OptionValue>>>>

/**
 * Defaults with the given options over them.
 * @throws VitpassError UNKNOWN_OPTION, BAD_OPTION
 */
export function resolveOptions(pass: Pass, given: Readonly<Record<string, OptionValue>> = {}): PassOptions {
  const resolved: Record<string, OptionValue> = {}
  for (const [key, spec] of Object.entries(pass.options)) resolved[key] = spec.default
  for (const [key, value] of Object.entries(given)) {
    const spec = Object.hasOwn(pass.options, key) ? pass.options[key] : undefined
    if (spec === undefined) {
      const known = Object.keys(pass.options)
      throw new VitpassError('UNKNOWN_OPTION', `pass ${pass.name} has no option "${key}"`, {
        remedy: known.length === 0 ? 'it takes none' : `it takes ${known.join(', ')}`,
      })
    }
    resolved[key] = coerce(pass.name, key, spec, value)
  }
  return resolved
}

/** Options as reports and metadata hold them: a tensor by its shape and a checksum. */
export function plainOptions(options: PassOptions): Readonly<Record<string, string | number | boolean>> {
  const plain = Object.entries(options).map(([key, value]) => [key, value instanceof TensorOption ? `${value}` : value])
  return Object.fromEntries(plain)
}

function coerce(pass: string, key: string, spec: OptionSpec, value: OptionValue): OptionValue {
  const bad = (wanted: string): never => {
    throw new VitpassError('BAD_OPTION', `option ${pass}.${key} cannot be "${value}"`, { remedy: `give ${wanted}` })
  }
  if (spec.type === 'number') {
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
    if (typeof number !== 'number' || !Number.isFinite(number)) return bad('a number')
    const { minimum = number } = spec
    return number >= minimum ? number : bad(`a number of at least ${minimum}`)
  }
  if (spec.type === 'boolean') {
    if (value === true || value === 'true') return true
    return value === false || value === 'false' ? false : bad('true or false')
  }
  if (spec.type === 'tensor') return value instanceof TensorOption ? value : bad('a tensor')
  const text = String(value)
  if (spec.choices !== undefined && !spec.choices.includes(text)) return bad(spec.choices.join(' or '))
  if (spec.pattern !== undefined && !spec.pattern.regex.test(text)) return bad(spec.pattern.wanted)
  return text
}

import type { Argv, CommandModule } from 'yargs'
import type { OptionSpec, Pass } from '../pipeline/pass.ts'
import type { Registry } from '../pipeline/run.ts'
import { print } from './print.ts'
import { formatTable } from './table.ts'

interface PassesArguments {
  readonly json: boolean
}

/** `vitpass passes`: the passes and presets that there are, with their options. */
export const passesCommand: CommandModule<object, PassesArguments> = {
  command: 'passes',
  describe: 'list the passes and their options',
  builder: (yargs: Argv) =>
    yargs.option('json', { describe: 'print one JSON document', type: 'boolean', default: false }),
  handler: listPasses,
}

async function listPasses({ json }: PassesArguments): Promise<void> {
  const { registry } = await import('../../passes/index.ts')
  print(json ? `${JSON.stringify(describeRegistry(registry))}\n` : formatRegistry(registry))
}

function describeRegistry({ passes, presets }: Registry): object {
  return {
    passes: passes.map(({ name, version, summary, requires, options }) => ({
      name,
      version,
      summary,
      requires,
      options: Object.fromEntries(Object.entries(options).map(([key, option]) => [key, describeOption(option)])),
    })),
    presets,
  }
}

/** The option as JSON can hold it: a pattern by the source of its expression. */
function describeOption({ pattern, ...option }: OptionSpec): object {
  return pattern === undefined ? option : { ...option, pattern: pattern.regex.source, wanted: pattern.wanted }
}

function formatRegistry({ passes, presets }: Registry): string {
  const lines = passes.flatMap((pass) => [...formatPass(pass), ''])
  const named = Object.entries(presets).map(([name, members]) => [`  ${name}`, members.join(',')])
  if (named.length > 0) lines.push('presets', ...formatTable(named))
  return `${lines.join('\n').trimEnd()}\n`
}

function formatPass({ name, summary, requires, options }: Pass): string[] {
  const rows = Object.entries(options).map(([key, option]) => [
    `    ${name}.${key}=${option.default}`,
    `${option.describe} (${option.choices?.join(', ') ?? option.pattern?.wanted ?? option.type})`,
  ])
  return [
    name,
    `    ${summary}`,
    ...(requires.length === 0 ? [] : [`    requires ${requires.join(', ')}`]),
    ...formatTable(rows),
  ]
}

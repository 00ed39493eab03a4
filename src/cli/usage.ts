import { VitpassError } from '../errors.ts'

/** What yargs says of a wrong command line, as an error in vitpass's words. */
export function usageError(message: string, argv: readonly string[], commands: readonly string[]): VitpassError {
  const [first] = argv
  const command = first !== undefined && commands.includes(first) ? ` ${first}` : ''
  const remedy = `see vitpass${command} --help`
  if (command === '' && first !== undefined && !first.startsWith('-')) {
    return new VitpassError('USAGE', `there is no command "${first}"`, { remedy: `known: ${commands.join(', ')}` })
  }
  return new VitpassError('USAGE', inOwnWords(message, first), { remedy })
}

function inOwnWords(message: string, command: string | undefined): string {
  if (message.startsWith('Not enough non-option arguments'))
    return command === 'golden' ? 'the folder or the model is missing' : 'no model is given'
  const [, valueless] = /^Not enough arguments following: (\S+)/.exec(message) ?? []
  if (valueless !== undefined) return `${asFlag(valueless)} needs a value`
  const [, missing] = /^Missing required arguments?: (.+)/.exec(message) ?? []
  if (missing !== undefined) return `${missing.split(', ').map(asFlag).join(' and ')} is missing`
  return message.charAt(0).toLowerCase() + message.slice(1)
}

function asFlag(name: string): string {
  return name.length === 1 ? `-${name}` : `--${name}`
}

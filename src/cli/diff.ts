import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs'
import { type DiffDocument, formatDiff } from './diff-report.ts'
import { EXIT } from './exit-code.ts'
import { withModel } from './failure.ts'
import { print } from './print.ts'

interface DiffFlags {
  readonly before: string
  readonly after: string
  readonly json: boolean
  readonly 'exit-code': boolean
}

/** `vitpass diff`: what differs between two models, by structure and not by name. That they differ is an answer, not an error. */
export const diffCommand: CommandModule<object, DiffFlags> = {
  command: 'diff <before> <after>',
  describe: 'show what differs between two models, by structure and not by name',
  builder: defineArguments,
  handler: diffAndPrint,
}

function defineArguments(yargs: Argv): Argv<DiffFlags> {
  return yargs
    .usage(
      '$0 diff <before> <after> [options]\n\nShows what differs between two models; names inside the graph play no part.',
    )
    .positional('before', { describe: 'an ONNX file', type: 'string', demandOption: true })
    .positional('after', { describe: 'another ONNX file', type: 'string', demandOption: true })
    .option('json', { describe: 'print one JSON document', type: 'boolean', default: false })
    .option('exit-code', { describe: 'end with 1 where they differ', type: 'boolean', default: false })
}

async function diffAndPrint(args: ArgumentsCamelCase<DiffFlags>): Promise<void> {
  const { before, after, json, exitCode } = args
  const { createHash } = await import('node:crypto')
  const { readModel } = await import('../onnx/node.ts')
  const { diffModels } = await import('../diff/diff.ts')
  const newDigest = () => {
    const hash = createHash('sha256')
    return { update: (bytes: Uint8Array) => void hash.update(bytes), digest: () => hash.digest('base64') }
  }
  const read = (path: string) => readModel(path).catch((error: unknown) => Promise.reject(withModel(error, path)))
  const document: DiffDocument = { before, after, ...diffModels(await read(before), await read(after), newDigest) }
  print(json ? `${JSON.stringify(document)}\n` : formatDiff(document))
  if (exitCode && !document.same) process.exitCode = EXIT.failed
}

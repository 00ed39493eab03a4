import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs'
import { CommandFailure } from './failure.ts'
import { listOf, parsePassOptions, TEXT } from './flags.ts'
import { formatGolden, goldenError } from './golden-report.ts'
import { print } from './print.ts'
import { stepLine } from './step-line.ts'

interface CheckFlags {
  readonly dir: string
  readonly provider: string[] | undefined
  readonly option: string[] | undefined
  readonly json: boolean
}

/** `vitpass golden check`: rewrites every export of every case and holds it against the recorded answers. Writes nothing. */
export const goldenCheckCommand: CommandModule<object, CheckFlags> = {
  command: 'check [dir]',
  describe: 'rewrite every export of the cases and hold it against their goldens',
  builder: defineArguments,
  handler: checkAndPrint,
}

function defineArguments(yargs: Argv): Argv<CheckFlags> {
  return yargs
    .usage(
      '$0 golden check [dir] [options]\n\nRewrites the exports of every case (<dir>/<name>/case.json) and runs them.',
    )
    .positional('dir', { describe: 'the folder of the cases, or one case', type: 'string', default: 'golden' })
    .option('provider', { ...TEXT, describe: 'execution providers of ONNX Runtime, as cuda,cpu; cpu if not given' })
    .option('option', { ...TEXT, describe: "pass.key=value, over the case's own; may be repeated" })
    .option('json', { describe: 'print one JSON document', type: 'boolean', default: false })
    .epilogue(EPILOGUE)
}

const EPILOGUE = `Examples:
  vitpass golden check golden
  vitpass golden check golden/my-vit --option mask.source=sizes

Needs onnxruntime-node. Exit codes: 0 right, 1 something cannot be read or run, 2 wrong usage, 4 an export fails.`

async function checkAndPrint(args: ArgumentsCamelCase<CheckFlags>): Promise<void> {
  const options = parsePassOptions(args.option)
  const given = listOf(args.provider)
  const providers = given.length === 0 ? ['cpu'] : given
  const { checkGoldens } = await import('./golden-suite.ts')
  const line = stepLine(process.stderr)
  const report = await checkGoldens(args.dir, { options, providers }, (what) => line.show(`checking ${what}`)).finally(
    () => line.clear(),
  )
  const failure = goldenError(report)
  if (!args.json) print(`${formatGolden(report).join('\n')}\n`)
  else if (failure === undefined) print(`${JSON.stringify(report)}\n`)
  if (failure !== undefined) throw new CommandFailure(failure, report)
}

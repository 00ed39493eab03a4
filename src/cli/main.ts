import { inspect } from 'node:util'
import yargs, { type CommandModule } from 'yargs'
import { hideBin } from 'yargs/helpers'
import { bucketCommand } from './bucket.ts'
import { diffCommand } from './diff.ts'
import { doctorCommand } from './doctor.ts'
import { encodeCommand } from './encode.ts'
import { EXIT, exitCodeFor } from './exit-code.ts'
import { CommandFailure, failureDocument, toVitpassError } from './failure.ts'
import { goldenCommand } from './golden.ts'
import { inspectCommand } from './inspect.ts'
import { passesCommand } from './passes.ts'
import { print, STDIN, tell } from './print.ts'
import { runCommand } from './run.ts'
import { usageError } from './usage.ts'
import { verifyCommand } from './verify.ts'
import { packageVersion } from './version.ts'

// biome-ignore lint/suspicious/noExplicitAny: each command has arguments of its own, which only yargs brings together.
const COMMANDS: CommandModule<object, any>[] = [
  runCommand,
  bucketCommand,
  verifyCommand,
  goldenCommand,
  encodeCommand,
  diffCommand,
  inspectCommand,
  passesCommand,
  doctorCommand,
]

const EPILOGUE = `Start with:
  vitpass inspect vit.onnx                   what the model is made of, and which passes fit it
  vitpass run vit.onnx -p mask,posenc,zero   make it right for padded batches

"vitpass <command> --help" tells the options of a command.`

/** Parses the command line and runs one command. A command's heavy modules are imported in its handler only. */
async function runCommandLine(argv: readonly string[]): Promise<void> {
  const parser = yargs()
    .scriptName('vitpass')
    .locale('en')
    .usage('vitpass: padded batches of mixed image sizes, exact, for ONNX vision encoders\n\n$0 <command> [options]')
    .epilogue(EPILOGUE)
    .parserConfiguration({ 'boolean-negation': false, 'dot-notation': false })
    .command(COMMANDS)
    .demandCommand(1, 'no command is given')
    .strict()
    .version(packageVersion())
    .alias('h', 'help')
    .wrap(Math.min(100, process.stdout.columns ?? 100))
    .exitProcess(false)
    .fail((message, error) => {
      throw message ? usageError(message, argv, COMMANDS.map(nameOf)) : error
    })
  // yargs drops a lone dash.
  await parser.parseAsync(argv.map((word) => (word === '-' ? STDIN : word)))
}

/** `run` of `run <model>`. */
function nameOf({ command }: Pick<CommandModule, 'command'>): string {
  return String(command).split(' ', 1).join()
}

/** Tells the user what went wrong, in one line, and sets the exit code. */
function fail(thrown: unknown, json: boolean): void {
  const failure = thrown instanceof CommandFailure ? thrown.cause : thrown
  const document = thrown instanceof CommandFailure ? thrown.document : {}
  const error = toVitpassError(failure)
  if (json) print(`${JSON.stringify(failureDocument(error, document))}\n`)
  tell(error.line())
  if (process.env.VITPASS_DEBUG === '1') process.stderr.write(`${inspect(failure)}\n`)
  process.exitCode = exitCodeFor(error.code)
}

/** A reader that goes away (`| head`) is no error; a full disk behind stdout is. */
function answerForStdout(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') tell(`stdout cannot be written (${error.message}); free some space or write elsewhere`)
    process.exit(error.code === 'EPIPE' ? process.exitCode : EXIT.failed)
  })
}

const argv = hideBin(process.argv)
answerForStdout()
runCommandLine(argv).catch((thrown: unknown) => fail(thrown, argv.includes('--json')))

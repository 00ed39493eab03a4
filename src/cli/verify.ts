import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs'
import type { VerifyOptions } from '../verify/verify.ts'
import { CommandFailure } from './failure.ts'
import { listOf, parseSizes, parseTolerance, TEXT } from './flags.ts'
import { print } from './print.ts'
import { formatChecks, verificationError } from './verify-report.ts'
import { verifyWatched } from './watched-verify.ts'

interface VerifyFlags {
  readonly original: string
  readonly transformed: string
  readonly sizes: string[] | undefined
  readonly provider: string[] | undefined
  readonly tolerance: string[] | undefined
  readonly json: boolean
}

/** `vitpass verify`: holds a transformed model against its original, on random images. */
export const verifyCommand: CommandModule<object, VerifyFlags> = {
  command: 'verify <original> <transformed>',
  describe: 'check that a rewritten model answers as its original does for each image alone',
  builder: defineArguments,
  handler: verifyAndPrint,
}

function defineArguments(yargs: Argv): Argv<VerifyFlags> {
  return yargs
    .usage(
      '$0 verify <original> <transformed> [options]\n\nRuns both models on random images and holds one against the other.',
    )
    .positional('original', { describe: 'the ONNX file before', type: 'string', demandOption: true })
    .positional('transformed', { describe: 'the ONNX file after', type: 'string', demandOption: true })
    .option('sizes', {
      ...TEXT,
      describe: 'sizes of images in pixels, as 64x64,32x80; some of every kind if not given',
    })
    .option('provider', { ...TEXT, describe: 'execution providers of ONNX Runtime, as cuda,cpu; cpu if not given' })
    .option('tolerance', {
      ...TEXT,
      describe: 'the largest difference that counts as equal; by precision if not given',
    })
    .option('json', { describe: 'print one JSON document', type: 'boolean', default: false })
    .epilogue(EPILOGUE)
}

const EPILOGUE = `Examples:
  vitpass verify vit.onnx vit.vitpass.onnx
  vitpass verify vit.onnx vit.vitpass.onnx --sizes 224x224,160x320 --tolerance 1e-3

Needs onnxruntime-node. Exit codes: 0 right, 1 failed, 2 wrong usage, 4 the models do not agree.`

async function verifyAndPrint(args: ArgumentsCamelCase<VerifyFlags>): Promise<void> {
  const options = parseVerifyOptions(args)
  const report = await verifyWatched(args.original, args.transformed, options)
  const failure = verificationError(report, args.transformed)
  if (!args.json) {
    print(`${[`${args.transformed} against ${args.original}`, '', ...formatChecks(report)].join('\n')}\n`)
  } else if (failure === undefined) print(`${JSON.stringify(report)}\n`)
  if (failure !== undefined) throw new CommandFailure(failure, report)
}

/** @throws VitpassError USAGE for a flag whose value has another form */
function parseVerifyOptions(flags: Pick<VerifyFlags, 'sizes' | 'provider' | 'tolerance'>): VerifyOptions {
  const sizes = parseSizes(flags.sizes)
  const providers = listOf(flags.provider)
  const tolerance = parseTolerance(flags.tolerance)
  return {
    ...(sizes.length === 0 ? {} : { sizes }),
    ...(providers.length === 0 ? {} : { providers }),
    ...(tolerance === undefined ? {} : { tolerance }),
  }
}

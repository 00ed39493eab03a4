import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs'
import { VitpassError } from '../errors.ts'
import { type EncodeFlags, encoderOptions, preprocessingFlags } from './encode-flags.ts'
import type { EncodeReport } from './encode-run.ts'
import { EXIT } from './exit-code.ts'
import { withModel } from './failure.ts'
import { onlyOne, TEXT } from './flags.ts'
import { print, tell } from './print.ts'
import { formatCount } from './table.ts'
import { checkTarget } from './target.ts'

/** `vitpass encode`: image files to rows of embeddings. */
export const encodeCommand: CommandModule<object, EncodeFlags> = {
  command: 'encode <model> [images..]',
  describe: 'turn image files into rows of embeddings',
  builder: defineArguments,
  handler: encodeAndPrint,
}

function defineArguments(yargs: Argv): Argv<EncodeFlags> {
  return yargs
    .usage(
      '$0 encode <model> <images..> -o <file> [options]\n\nImages of any mix of sizes; each gets what the model gives for it alone.',
    )
    .positional('model', { describe: 'an ONNX file that encodes images', type: 'string', demandOption: true })
    .positional('images', {
      describe: 'files, folders, patterns, .txt files with a path a line, or - for such lines on stdin',
      type: 'string',
      array: true,
      default: [],
    })
    .option('output', { ...TEXT, alias: 'o', describe: 'a .npy, .safetensors or .jsonl file', demandOption: true })
    .option('provider', {
      ...TEXT,
      describe: 'execution providers in order of preference, as cuda,cpu; cpu if not given',
    })
    .option('batch-tokens', { ...TEXT, describe: 'most tokens in a batch, padding included' })
    .option('threads', { ...TEXT, describe: 'sessions that run at once, one thread each; one a core if not given' })
    .option('resize', {
      ...TEXT,
      describe: 'keep: as they are; config: as the file says (default: keep for padding-proof models)',
    })
    .option('preprocessor', { ...TEXT, describe: 'preprocessor_config.json; the one beside the model if not given' })
    .option('mean', { ...TEXT, describe: 'taken away from each channel of 0 to 1, as 0.5,0.5,0.5' })
    .option('std', { ...TEXT, describe: 'what each channel is then divided by' })
    .option('max-pixels', { ...TEXT, describe: 'larger images are left out; 4194304 if not given' })
    .option('model-output', { ...TEXT, describe: "the model's output to take, where it has several" })
    .option('strict', { describe: 'stop at the first image that fails', type: 'boolean', default: false })
    .option('resume', { describe: 'go on where an interrupted run ended', type: 'boolean', default: false })
    .option('json', { describe: 'print one JSON document', type: 'boolean', default: false })
    .epilogue(EPILOGUE)
}

const EPILOGUE = `Examples:
  vitpass encode vit.vitpass.onnx photos -o photos.npy
  find . -name '*.jpg' | vitpass encode vit.vitpass.onnx - -o rows.jsonl --resume

Names of the rows go to <name>.names.json for .npy, into the tensor "names" for .safetensors, into each line for .jsonl.
Needs onnxruntime-node and sharp. Exit codes: 0 done, 1 failed or some images left out, 2 wrong usage.`

async function encodeAndPrint(args: ArgumentsCamelCase<EncodeFlags>): Promise<void> {
  const output = onlyOne('-o', args.output) ?? ''
  const encoder = encoderOptions(args)
  const flags = preprocessingFlags(args)
  if (args.images.length === 0) {
    throw new VitpassError('USAGE', 'no images are given', {
      remedy: 'name files or folders, or - for a list on stdin',
    })
  }
  const { formatOf } = await import('./encode-formats.ts')
  formatOf(output)
  checkTarget(output, args.model, { flag: '-o', force: false })
  const { checkSources, countSources, expandSources } = await import('./encode-sources.ts')
  checkSources(args.images)

  const { describeEncoder } = await import('../runtime/describe.ts')
  const { choosePreprocessing } = await import('./encode-settings.ts')
  const description = await describeEncoder(args.model)
  const { preprocessing, notes } = await choosePreprocessing(args.model, description, flags)
  for (const note of notes) tell(`note: ${note}`)

  const { encodeFiles } = await import('./encode-run.ts')
  const { encodeProgress } = await import('./encode-progress.ts')
  const progress = await encodeProgress(process.stderr, () => countSources(args.images))
  const { model, strict, resume } = args
  const request = { model, description, preprocessing, encoder, output, strict, resume }
  const report = await encodeFiles(request, expandSources(args.images), {
    progress,
    onFailure: (error) => {
      progress.clear()
      tell(`left out: ${error.line()}`)
    },
    onInterrupt: (rows) => {
      progress.clear()
      if (rows > 0) tell(`interrupted after ${formatCount(rows, 'row')}; the same command with --resume goes on`)
    },
  })
    .catch((error: unknown) => Promise.reject(withModel(error, args.model)))
    .finally(() => progress.clear())
  print(args.json ? `${JSON.stringify(report)}\n` : formatReport(report))
  if (report.failures > 0) process.exitCode = EXIT.failed
}

function formatReport({
  outputs,
  rows,
  resumed,
  features,
  failures,
  provider,
  strategy,
  seconds,
}: EncodeReport): string {
  const extras = [
    ...(resumed === 0 ? [] : [`${resumed} from before`]),
    ...(failures === 0 ? [] : [`${formatCount(failures, 'image')} left out`]),
  ]
  const rate = (rows - resumed) / seconds
  return `${[
    `${outputs[0]}: ${formatCount(rows, 'row')} of ${features}${extras.length === 0 ? '' : ` (${extras.join(', ')})`}`,
    ...outputs.slice(1).map((path) => `${path}: their names`),
    `${strategy.kind} on ${provider}, ${seconds.toFixed(1)} s, ${rate.toFixed(rate < 10 ? 1 : 0)} images/s`,
  ].join('\n')}\n`
}

import { resolve } from 'node:path'
import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs'
import { isCount, toPatches } from '../batching/sizes.ts'
import { VitpassError } from '../errors.ts'
import { PassRefusedError } from '../pipeline/run.ts'
import { type BucketDocument, formatBuckets } from './bucket-report.ts'
import type { SizeList } from './bucket-sizes.ts'
import { CommandFailure, withModel } from './failure.ts'
import { type FlagValues, onlyOne, TEXT } from './flags.ts'
import { print, tell } from './print.ts'
import { checkTarget, defaultOutput } from './target.ts'
import { writeOutput } from './write-output.ts'

interface BucketFlags {
  readonly model: string
  readonly sizes: string[]
  readonly output: string[] | undefined
  readonly 'max-buckets': string[] | undefined
  readonly batch: string[] | undefined
  readonly 'batch-tokens': string[] | undefined
  readonly crop: boolean
  readonly calibrate: boolean
  readonly svg: string[] | undefined
  readonly hints: string[] | undefined
  readonly trt: boolean
  readonly json: boolean
  readonly 'dry-run': boolean
  readonly force: boolean
  readonly durable: boolean
}

type BucketArguments = ArgumentsCamelCase<BucketFlags>

/** `vitpass bucket`: plans the sizes to pad images to, for a list of sizes, and notes them in the model. */
export const bucketCommand: CommandModule<object, BucketFlags> = {
  command: 'bucket <model>',
  describe: 'plan the sizes to pad images to, and note them in the model',
  builder: defineArguments,
  handler: planAndReport,
}

function defineArguments(yargs: Argv): Argv<BucketFlags> {
  return yargs
    .usage(
      '$0 bucket <model> --sizes <file or folder> [options]\n\nPlans the sizes to pad images to, and notes them in the model.',
    )
    .positional('model', { describe: 'an ONNX file', type: 'string', demandOption: true })
    .option('sizes', {
      ...TEXT,
      describe: 'sizes of images: a JSON or CSV file, or a folder of images',
      demandOption: true,
    })
    .option('output', { ...TEXT, alias: 'o', describe: 'file to write, <name>.vitpass.onnx if not given' })
    .option('max-buckets', { ...TEXT, describe: 'buckets at most, 8 if not given' })
    .option('batch', { ...TEXT, describe: 'images in a call at most, 16 if not given' })
    .option('batch-tokens', { ...TEXT, describe: 'tokens in a call at most, padding included' })
    .option('crop', {
      describe: 'images are cut to whole patches before they are padded',
      type: 'boolean',
      default: false,
    })
    .option('calibrate', {
      describe: 'time the model on this machine and plan by that',
      type: 'boolean',
      default: false,
    })
    .option('svg', { ...TEXT, describe: 'file for a picture of the sizes and buckets' })
    .option('hints', { ...TEXT, describe: 'file for the buckets as JSON' })
    .option('trt', {
      describe: "print the options of ONNX Runtime's TensorRT provider",
      type: 'boolean',
      default: false,
    })
    .option('json', { describe: 'print one JSON document', type: 'boolean', default: false })
    .option('dry-run', { describe: 'do all but write files', type: 'boolean', default: false })
    .option('force', { describe: 'let -o replace the input', type: 'boolean', default: false })
    .option('durable', { describe: 'wait until the disk has the output', type: 'boolean', default: false })
    .epilogue(EPILOGUE)
}

const EPILOGUE = `Examples:
  vitpass bucket vit.vitpass.onnx --sizes photos/ -o vit.buckets.onnx
  vitpass bucket vit.onnx --sizes sizes.csv --max-buckets 4 --calibrate --svg buckets.svg

JSON: [[height, width, count], ...] or [{"height", "width", "count"}, ...]. CSV: height,width,count. A count may be left out.
--calibrate needs onnxruntime-node, a folder of images sharp.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a pass refused.`

async function planAndReport(args: BucketArguments): Promise<void> {
  const plan = readFlags(args)
  let document: BucketDocument = { model: args.model, output: null, bytes: null, dryRun: args.dryRun }
  try {
    const { readSizeList } = await import('./bucket-sizes.ts')
    const list = await readSizeList(plan.sizes)
    tellUnreadable(list)
    const images = list.sizes.reduce((sum, { count }) => sum + count, 0)
    document = {
      ...document,
      sizes: { from: plan.sizes, images, distinct: list.sizes.length, unreadable: list.unreadable },
    }
    const { readModel } = await import('../onnx/node.ts')
    const model = await readModel(args.model)
    const { planInto } = await import('./bucket-plan.ts')
    document = { ...document, ...(await planInto(model, list, { ...args, ...plan })) }
    if (!args.dryRun) {
      document = { ...document, output: plan.output, bytes: await writeOutput(model, plan.output, args) }
      await writeExtras(document, list, plan)
    }
  } catch (failure) {
    const report = failure instanceof PassRefusedError ? failure.report : {}
    throw new CommandFailure(withModel(failure, args.model), { ...document, ...report })
  }
  print(args.json ? `${JSON.stringify(document)}\n` : formatBuckets(document, args))
}

interface Plan {
  readonly sizes: string
  readonly output: string
  readonly svg: string | undefined
  readonly hints: string | undefined
  readonly most: number
  readonly batch: number
  readonly tokens: number
  readonly crop: boolean
}

/** @throws VitpassError USAGE, FILE_UNWRITABLE */
function readFlags(args: BucketArguments): Plan {
  const output = onlyOne('-o', args.output) ?? defaultOutput(args.model)
  const plan = {
    sizes: onlyOne('--sizes', args.sizes) ?? '',
    output,
    svg: onlyOne('--svg', args.svg),
    hints: onlyOne('--hints', args.hints),
    most: parseCount('--max-buckets', args.maxBuckets) ?? 8,
    batch: parseCount('--batch', args.batch) ?? 16,
    tokens: parseCount('--batch-tokens', args.batchTokens) ?? 0,
    crop: args.crop,
  }
  if (args.dryRun) return plan
  checkTarget(output, args.model, { flag: '-o', force: args.force })
  const taken = new Map([
    [resolve(output), '-o'],
    [resolve(plan.sizes), '--sizes'],
  ])
  for (const [flag, path] of [
    ['--svg', plan.svg],
    ['--hints', plan.hints],
  ] as const) {
    if (path === undefined) continue
    checkTarget(path, args.model, { flag, force: false })
    const other = taken.get(resolve(path))
    if (other !== undefined) {
      throw new VitpassError('USAGE', `${flag} and ${other} are one file`, { where: path, remedy: 'give another path' })
    }
    taken.set(resolve(path), flag)
  }
  return plan
}

function parseCount(flag: string, values: FlagValues): number | undefined {
  const text = onlyOne(flag, values)
  if (text === undefined) return undefined
  const number = Number(text)
  if (isCount(number)) return number
  throw new VitpassError('USAGE', `${flag} cannot be "${text}"`, { remedy: 'give a whole number from 1' })
}

const SHOWN = 5

function tellUnreadable({ unreadable }: SizeList): void {
  for (const { path, reason } of unreadable.slice(0, SHOWN)) tell(`${path}: skipped, as it cannot be read (${reason})`)
  if (unreadable.length > SHOWN) tell(`${unreadable.length - SHOWN} more images are skipped; --json lists them`)
}

async function writeExtras({ hints }: BucketDocument, { sizes }: SizeList, plan: Plan): Promise<void> {
  if (hints === undefined) return
  const { writeTextFile } = await import('./report-file.ts')
  if (plan.hints !== undefined) {
    writeTextFile(plan.hints, `${JSON.stringify(hints, null, 2)}\n`, { what: 'the hints', flag: '--hints' })
  }
  if (plan.svg !== undefined) {
    const { drawBuckets } = await import('./bucket-picture.ts')
    writeTextFile(plan.svg, drawBuckets(hints, toPatches(sizes, hints.patch, plan.crop)), {
      what: 'the picture',
      flag: '--svg',
    })
  }
}

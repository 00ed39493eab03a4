import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, join, relative, resolve, sep } from 'node:path'
import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs'
import { VitpassError } from '../errors.ts'
import { withModel } from './failure.ts'
import { listOf, onlyOne, parsePassOptions, parseSizes, parseTolerance, TEXT } from './flags.ts'
import { print } from './print.ts'
import { formatCount } from './table.ts'
import { packageVersion } from './version.ts'

interface RecordFlags {
  readonly dir: string
  readonly model: string
  readonly sizes: string[] | undefined
  readonly seed: string[] | undefined
  readonly provider: string[] | undefined
  readonly option: string[] | undefined
  readonly tolerance: string[] | undefined
  readonly force: boolean
  readonly json: boolean
}

/** `vitpass golden record`: makes a case of what an untouched export answers for each image alone. */
export const goldenRecordCommand: CommandModule<object, RecordFlags> = {
  command: 'record <dir> <model>',
  describe: 'make a case of what an untouched export answers for each image alone',
  builder: defineArguments,
  handler: recordAndPrint,
}

function defineArguments(yargs: Argv): Argv<RecordFlags> {
  return yargs
    .usage(
      '$0 golden record <dir> <model> [options]\n\nRuns the export on random images, each alone, and keeps its answers.',
    )
    .positional('dir', { describe: 'the folder of the case, as golden/my-vit', type: 'string', demandOption: true })
    .positional('model', { describe: 'the ONNX file, as exported', type: 'string', demandOption: true })
    .option('sizes', {
      ...TEXT,
      describe: 'sizes of images in pixels, as 64x64,32x80; those of every kind that the model takes if not given',
    })
    .option('seed', { ...TEXT, describe: 'a whole number that the images are drawn from; 0 if not given' })
    .option('provider', { ...TEXT, describe: 'execution providers of ONNX Runtime, as cuda,cpu; cpu if not given' })
    .option('option', { ...TEXT, describe: 'pass.key=value that checks need for this export; may be repeated' })
    .option('tolerance', {
      ...TEXT,
      describe: 'the largest difference that counts as equal; by precision if not given',
    })
    .option('force', { describe: 'replace a case that this command made', type: 'boolean', default: false })
    .option('json', { describe: 'print one JSON document', type: 'boolean', default: false })
    .epilogue(EPILOGUE)
}

const EPILOGUE = `Examples:
  vitpass golden record golden/my-vit my-vit.onnx
  vitpass golden record golden/my-vit my-vit.onnx --sizes 224x224,160x320 --seed 1 --force

The answers are the export's own, so they are as right as it is at these sizes: PyTorch is no part of this.
Needs onnxruntime-node. Exit codes: 0 recorded, 1 failed, 2 wrong usage.`

async function recordAndPrint(args: ArgumentsCamelCase<RecordFlags>): Promise<void> {
  const { dir, model, force, json } = args
  const sizes = parseSizes(args.sizes)
  const providers = listOf(args.provider)
  const seed = parseSeed(args.seed)
  const tolerance = parseTolerance(args.tolerance)
  const options = parsePassOptions(args.option)
  const { CASE_FILE, TENSORS_FILE } = await import('../verify/golden-case.ts')
  const files = { described: join(dir, CASE_FILE), tensors: join(dir, TENSORS_FILE) }
  requireFree(files, force)

  const { recordCase } = await import('../verify/golden-record.ts')
  const recorded = await recordCase(model, {
    ...(sizes.length === 0 ? {} : { sizes }),
    ...(providers.length === 0 ? {} : { providers }),
    ...(tolerance === undefined ? {} : { tolerance }),
    seed,
  }).catch((error: unknown) => Promise.reject(withModel(error, model)))
  const made = `vitpass golden record ${packageVersion()}`
  const entry = {
    file: relative(resolve(dir), resolve(model)).replaceAll(sep, '/'),
    ...recorded.entry,
    ...(Object.keys(options).length === 0 ? {} : { options }),
  }
  const described = {
    name: basename(resolve(dir)),
    origin: {
      library: 'onnx',
      class: basename(model),
      alone: 'the export itself on the image at its own size',
      made,
      seed,
    },
    ...recorded.described,
    models: [entry],
  }
  const { toSafetensors } = await import('../verify/safetensors.ts')
  await writeCase(dir, files, `${JSON.stringify(described, null, 2)}\n`, toSafetensors(recorded.tensors))
  const images = recorded.described.images.map(({ tags }) => tags.join(' '))
  const outputs = Object.keys(recorded.entry.outputs)
  if (json) print(`${JSON.stringify({ dir, model, seed, images, outputs, notes: recorded.notes })}\n`)
  else {
    const lines = [
      ...recorded.notes.map((note) => `note: ${note}`),
      `wrote ${dir}: ${outputs.join(', ')} of ${model} for ${formatCount(images.length, 'image')} (${images.join(', ')})`,
    ]
    print(`${lines.join('\n')}\n`)
  }
}

/** Where a case's two files go. */
interface CaseFiles {
  readonly described: string
  readonly tensors: string
}

/** @throws VitpassError USAGE where a case is there, unless this command made it and may replace it */
function requireFree({ described, tensors }: CaseFiles, force: boolean): void {
  const existing = [described, tensors].find((path) => existsSync(path))
  if (existing === undefined || (force && (!existsSync(described) || isOurs(described)))) return
  throw new VitpassError(
    'USAGE',
    force ? 'this case was not made by `vitpass golden record`' : 'there is a case already',
    {
      where: existing,
      remedy: force ? 'remove it yourself, or give another folder' : 'give another folder, or --force to replace it',
    },
  )
}

function isOurs(path: string): boolean {
  try {
    const parsed: { origin?: { made?: unknown } } | null = JSON.parse(readFileSync(path, 'utf8'))
    return String(parsed?.origin?.made).startsWith('vitpass golden record')
  } catch {
    return false
  }
}

/** The description goes last, and an old one first: what has one is a case, and whole. @throws VitpassError FILE_UNWRITABLE */
async function writeCase(dir: string, files: CaseFiles, described: string, tensors: Uint8Array): Promise<void> {
  const { writeWholeFile } = await import('./report-file.ts')
  const shown = { what: 'the case', remedy: 'free some space or give another folder' }
  try {
    mkdirSync(dir, { recursive: true })
    rmSync(files.described, { force: true })
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new VitpassError('FILE_UNWRITABLE', `it cannot be made or written to (${why})`, { where: dir, cause })
  }
  writeWholeFile(files.tensors, tensors, shown)
  writeWholeFile(files.described, described, shown)
}

/** @throws VitpassError USAGE */
function parseSeed(values: readonly string[] | undefined): number {
  const text = onlyOne('--seed', values) ?? '0'
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new VitpassError('USAGE', `--seed cannot be "${text}"`, { remedy: 'give a whole number, such as 1' })
}

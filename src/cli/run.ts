import { resolve } from 'node:path'
import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs'
import { VitpassError } from '../errors.ts'
import type { OptionsByPass } from '../pipeline/options.ts'
import { PassRefusedError, runPasses } from '../pipeline/run.ts'
import { EXIT } from './exit-code.ts'
import { CommandFailure, failureDocument, toVitpassError, withModel } from './failure.ts'
import { onlyOne, parsePassNames, parsePassOptions, TEXT } from './flags.ts'
import { print, tell } from './print.ts'
import { findIdle, formatRun, type RunDocument } from './run-report.ts'
import { checkTarget, defaultOutput } from './target.ts'
import { readTensorOptions } from './tensor-options.ts'
import { verificationError } from './verify-report.ts'
import { writeOutput } from './write-output.ts'

interface RunFlags {
  readonly model: string
  readonly passes: string[]
  readonly output: string[] | undefined
  readonly option: string[] | undefined
  readonly report: string[] | undefined
  readonly 'allow-dense': boolean
  readonly explain: boolean
  readonly json: boolean
  readonly 'dry-run': boolean
  readonly force: boolean
  readonly durable: boolean
  readonly verify: boolean
}

type RunArguments = ArgumentsCamelCase<RunFlags>

/** `vitpass run`: reads a model, runs passes over it, writes the result, and reports. */
export const runCommand: CommandModule<object, RunFlags> = {
  command: 'run <model>',
  describe: 'rewrite a model with passes',
  builder: defineArguments,
  handler: runAndReport,
}

function defineArguments(yargs: Argv): Argv<RunFlags> {
  return yargs
    .usage('$0 run <model> --passes a,b,c [options]\n\nReads a model, runs passes over it, and writes the result.')
    .positional('model', { describe: 'an ONNX file', type: 'string', demandOption: true })
    .option('passes', { ...TEXT, alias: 'p', describe: 'passes and presets, as a,b,c', demandOption: true })
    .option('output', { ...TEXT, alias: 'o', describe: 'file to write, <name>.vitpass.onnx if not given' })
    .option('option', { ...TEXT, describe: 'pass.key=value, once for each option' })
    .option('allow-dense', {
      describe: 'keep outputs that blend padded neighbours, not exact, as mask.allowDense=true does',
      type: 'boolean',
      default: false,
    })
    .option('explain', { describe: 'tell what each pass did, or why not', type: 'boolean', default: false })
    .option('verify', {
      describe: 'run both models, and write the result only where it answers as the original',
      type: 'boolean',
      default: false,
    })
    .option('report', { ...TEXT, describe: 'file for the JSON report' })
    .option('json', { describe: 'print one JSON document', type: 'boolean', default: false })
    .option('dry-run', { describe: 'do all but write the model', type: 'boolean', default: false })
    .option('force', { describe: 'let -o replace the input', type: 'boolean', default: false })
    .option('durable', { describe: 'wait until the disk has the output', type: 'boolean', default: false })
    .epilogue(EPILOGUE)
}

const EPILOGUE = `Examples:
  vitpass run vit.onnx -p mask,posenc,zero              padded batches of any sizes
  vitpass run vit.onnx -p padproof -o out.onnx --option mask.source=sizes
  vitpass run vit.onnx -p padproof --dry-run --explain  what would change, or why not

"vitpass passes" lists passes, presets and options.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a pass refused or found nothing to do, 4 not verified.`

async function runAndReport(args: RunArguments): Promise<void> {
  const output = onlyOne('-o', args.output) ?? defaultOutput(args.model)
  const reportPath = onlyOne('--report', args.report)
  if (reportPath !== undefined) checkReportPath(reportPath, args.model, output)

  const { document, idle, failure } = await transform(args, output)
  if (reportPath !== undefined) await keepReport(reportPath, document, failure)
  if (failure !== undefined) {
    const told = args.explain || document.verification !== undefined
    if (told && !args.json && document.passes !== undefined) print(formatRun(document, args.explain))
    throw new CommandFailure(failure, document)
  }
  print(args.json ? `${JSON.stringify(document)}\n` : formatRun(document, args.explain))
  if (idle.length > 0) {
    tell(`${args.model}: nothing to do for ${idle.join(' and ')}`)
    process.exitCode = EXIT.notApplied
  }
}

interface Outcome {
  readonly document: RunDocument
  /** What was asked for and found nothing to do. */
  readonly idle: readonly string[]
  readonly failure?: VitpassError
}

/** Reads, runs and writes. Never throws: a failure comes with the report of what was done before it. */
async function transform(args: RunArguments, output: string): Promise<Outcome> {
  let document: RunDocument = { model: args.model, output: null, bytes: null, dryRun: args.dryRun }
  try {
    const names = parsePassNames(args.passes)
    const given = withDense(parsePassOptions(args.option), args.allowDense)
    if (!args.dryRun) checkTarget(output, args.model, { flag: '-o', force: args.force })

    const { readModel } = await import('../onnx/node.ts')
    const { registry } = await import('../../passes/index.ts')
    const options = await readTensorOptions(given, registry)
    const model = await readModel(args.model)
    const report = runPasses(registry, model, names, options)
    document = { ...document, ...report }
    if (args.verify) {
      const { verifyBeforeWriting } = await import('./run-verify.ts')
      document = { ...document, verification: await verifyBeforeWriting(model, args.model, output, args) }
    }
    const unverified = document.verification && verificationError(document.verification, output)
    if (unverified !== undefined) throw unverified
    if (!args.dryRun) document = { ...document, output, bytes: await writeOutput(model, output, args) }
    return {
      document,
      idle: findIdle(
        report.passes,
        names.map((name) => registry.presets[name] ?? [name]),
      ),
    }
  } catch (failure) {
    const report = failure instanceof PassRefusedError ? failure.report : {}
    return { document: { ...document, ...report }, idle: [], failure: withModel(failure, args.model) }
  }
}

/** `--allow-dense` is short for an option of `mask`. */
function withDense(options: OptionsByPass, allowDense: boolean): OptionsByPass {
  return allowDense ? { ...options, mask: { ...options.mask, allowDense: true } } : options
}

function checkReportPath(path: string, input: string, output: string): void {
  if (resolve(path) === resolve(output)) {
    throw new VitpassError('USAGE', '--report is the output itself', { where: path, remedy: 'give another path' })
  }
  checkTarget(path, input, { flag: '--report', force: false })
}

/** A report that cannot be written fails the command, but does not hide an earlier failure. */
async function keepReport(path: string, document: RunDocument, failure: VitpassError | undefined): Promise<void> {
  const { writeReportFile } = await import('./report-file.ts')
  try {
    writeReportFile(path, failure === undefined ? document : failureDocument(failure, document))
  } catch (error) {
    const unwritten = toVitpassError(error)
    if (failure === undefined) throw new CommandFailure(unwritten, document)
    tell(unwritten.line())
  }
}

import { statSync } from 'node:fs'
import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs'
import type { Model } from '../ir/model.ts'
import type { ByteSource } from '../ir/tensor.ts'
import { formatInspection, type InspectDocument } from './inspect-report.ts'
import { print } from './print.ts'

interface InspectFlags {
  readonly model: string
  readonly json: boolean
}

/** `vitpass inspect`: what a model is made of, and which passes fit it. A model that no pass fits is an answer, not an error. */
export const inspectCommand: CommandModule<object, InspectFlags> = {
  command: 'inspect <model>',
  describe: 'show what a model is made of and which passes fit it',
  builder: defineArguments,
  handler: inspectAndPrint,
}

function defineArguments(yargs: Argv): Argv<InspectFlags> {
  return yargs
    .positional('model', { describe: 'an ONNX file', type: 'string', demandOption: true })
    .option('json', { describe: 'print one JSON document', type: 'boolean', default: false })
}

async function inspectAndPrint({ model: path, json }: ArgumentsCamelCase<InspectFlags>): Promise<void> {
  const { readModel } = await import('../onnx/node.ts')
  const { inspect } = await import('../index.ts')
  const model = await readModel(path)
  const document: InspectDocument = {
    model: path,
    bytes: statSync(path).size,
    externalBytes: externalBytes(model),
    ...inspect(model),
  }
  print(json ? `${JSON.stringify(document)}\n` : formatInspection(document))
}

/** Size of the files that hold the weights, where they are not in the model's own. */
function externalBytes(model: Model): number {
  const files = new Map<string, ByteSource>()
  for (const { tensor } of model.graph.initializers) {
    if (tensor?.storage.kind === 'external' && tensor.storage.source !== null) {
      files.set(tensor.storage.location, tensor.storage.source)
    }
  }
  return [...files.values()].reduce((sum, { size }) => sum + size, 0)
}

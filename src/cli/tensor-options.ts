import { readFile } from 'node:fs/promises'
import { VitpassError } from '../errors.ts'
import type { OptionsByPass } from '../pipeline/options.ts'
import type { OptionValue } from '../pipeline/pass.ts'
import type { Registry } from '../pipeline/run.ts'
import { TensorOption } from '../pipeline/tensor-option.ts'
import { parseNpy } from './npy.ts'

/**
 * Options as given on the command line, those that take a tensor read from the .npy files that they name.
 * @throws VitpassError USAGE for a file that cannot be read or is no .npy file
 */
export async function readTensorOptions(options: OptionsByPass, { passes }: Registry): Promise<OptionsByPass> {
  const read = Object.entries(options).map(async ([name, own]) => {
    const specs = passes.find((pass) => pass.name === name)?.options ?? {}
    const values = Object.entries(own).map(async ([key, value]): Promise<readonly [string, OptionValue]> => {
      return [key, specs[key]?.type === 'tensor' ? await readTensor(String(value)) : value]
    })
    return [name, Object.fromEntries(await Promise.all(values))] as const
  })
  return Object.fromEntries(await Promise.all(read))
}

async function readTensor(path: string): Promise<TensorOption> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new VitpassError('USAGE', `${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`, {
      remedy: 'name a .npy file',
    })
  })
  const { dims, data } = parseNpy(bytes, path)
  return new TensorOption(dims, data)
}

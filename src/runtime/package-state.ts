import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/** A package that vitpass uses where it is installed. */
export interface PackageState {
  readonly name: string
  readonly version: string | null
  /** Why it cannot be used; null where it can. */
  readonly problem: string | null
}

/** Whether an optional package is installed and loads, which loads it. */
export async function packageState(name: 'onnxruntime-node' | 'sharp'): Promise<PackageState> {
  const version = versionOf(name)
  try {
    await (name === 'sharp' ? import('sharp') : import('onnxruntime-node'))
    return { name, version, problem: null }
  } catch (error) {
    const said = (error instanceof Error ? error.message : String(error)).trim().split('\n', 1).join()
    return { name, version, problem: version === null ? 'it is not installed' : `it cannot be loaded (${said})` }
  }
}

/** Read from its package.json, which not every package lets others import. */
function versionOf(name: string): string | null {
  try {
    let folder = dirname(createRequire(import.meta.url).resolve(name))
    for (; folder !== dirname(folder); folder = dirname(folder)) {
      const found = readPackage(join(folder, 'package.json'))
      if (found?.name === name) return found.version
    }
  } catch {
    // Not installed, or without a main file for this platform.
  }
  return null
}

function readPackage(path: string): { readonly name: string; readonly version: string } | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return null
  }
}

import { basename, join, resolve } from 'node:path'
import { caseFolders, type GoldenCase, loadCase as loadFolder } from '../../src/verify/golden-case.ts'

export {
  type ExportEntry,
  exportPath,
  type GoldenCase,
  type GoldenImage,
  type GoldenPrecision as Precision,
} from '../../src/verify/golden-case.ts'

/** Names of the cases under `<root>/golden`, sorted. */
export function caseNames(root: string): string[] {
  return caseFolders(join(root, 'golden')).map((folder) => basename(folder))
}

export function loadCase(root: string, name: string): GoldenCase {
  return loadFolder(resolve(root, 'golden', name))
}

import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, normalize, sep } from 'node:path'
import { ts } from 'ts-morph'

/** Every TypeScript file below these folders of the repository, generated ones included; paths with `/`. */
export function sourceFiles(...folders: readonly string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(folder, name).split(sep).join('/'))
      .sort(),
  )
}

/** What a file imports, statically, dynamically or for types only: files by their path in the repository, packages by their name. */
export function importsOf(file: string): string[] {
  const { importedFiles } = ts.preProcessFile(readFileSync(file, 'utf8'), true, true)
  return importedFiles.map(({ fileName }) => pathOf(file, fileName))
}

export function isRelative(imported: string): boolean {
  return /^(src|passes|tools|test|bench)\//.test(imported)
}

/** The package that an import names: `protobufjs` for `protobufjs/minimal.js`. */
export function packageName(imported: string): string {
  const parts = imported.split('/')
  return parts.slice(0, imported.startsWith('@') ? 2 : 1).join('/')
}

/** True for what only Node has, with or without `node:`. */
export function isNodeModule(imported: string): boolean {
  return imported.startsWith('node:') || builtinModules.includes(packageName(imported))
}

/** Every file that is reached from one by imports, each with the way to it. */
export function reachableFrom(entry: string): Map<string, readonly string[]> {
  const ways = new Map<string, readonly string[]>([[entry, [entry]]])
  for (const [file, way] of ways) {
    for (const imported of importsOf(file)) {
      if (isRelative(imported) && imported.endsWith('.ts') && !ways.has(imported))
        ways.set(imported, [...way, imported])
    }
  }
  return ways
}

/** Every file and package that is loaded with one file: static imports of values, through all files. */
export function staticallyReachableFrom(entry: string): string[] {
  const reached = new Set([entry])
  for (const file of reached) {
    if (!isRelative(file)) continue
    const { statements } = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest)
    for (const statement of statements) {
      if (!ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement)) continue
      const isType = ts.isImportDeclaration(statement) ? statement.importClause?.isTypeOnly : statement.isTypeOnly
      const module = statement.moduleSpecifier
      if (!isType && module !== undefined && ts.isStringLiteral(module)) reached.add(pathOf(file, module.text))
    }
  }
  return [...reached]
}

function pathOf(importer: string, specifier: string): string {
  return specifier.startsWith('.')
    ? normalize(join(dirname(importer), specifier))
        .split(sep)
        .join('/')
    : specifier
}

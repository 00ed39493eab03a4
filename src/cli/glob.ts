import { type Dirent, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Whether a path is a pattern: it holds `*`, `?`, `[...]` or `{a,b}`. */
export function isPattern(path: string): boolean {
  return /[*?{[]/.test(path)
}

/**
 * Paths of files that match a pattern, sorted, one folder in memory at a time. `*` and `?` stand for anything within a name, `**` for any
 * number of folders, `[abc]` for one of some characters, `{a,b}` for either. A leading dot must be in the pattern itself.
 */
export function* matchFiles(pattern: string): Generator<string> {
  for (const one of alternatives(pattern.replaceAll('\\', '/'))) {
    const absolute = one.startsWith('/')
    yield* matchFrom(
      absolute ? '/' : '',
      one.split('/').filter((part) => part !== ''),
    )
  }
}

function* matchFrom(folder: string, parts: readonly string[]): Generator<string> {
  const [part, ...rest] = parts
  if (part === undefined) return
  if (part === '**') {
    yield* matchFrom(folder, rest.length === 0 ? ['*'] : rest)
    for (const entry of entriesOf(folder)) {
      if (entry.isDirectory() && !entry.name.startsWith('.')) yield* matchFrom(join(folder, entry.name), parts)
    }
    return
  }
  if (!isPattern(part)) {
    const path = folder === '' ? part : join(folder, part)
    if (rest.length > 0) yield* matchFrom(path, rest)
    else if (isFile(path)) yield path
    return
  }
  const regex = expressionOf(part)
  for (const { name } of entriesOf(folder)) {
    if (!regex.test(name) || (name.startsWith('.') && !part.startsWith('.'))) continue
    const path = join(folder, name)
    if (rest.length > 0) yield* matchFrom(path, rest)
    else if (isFile(path)) yield path
  }
}

/** What lies in a folder, by name; nothing where it is no folder or must not be read. */
export function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder === '' ? '.' : folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))
  } catch {
    return []
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false
}

/** `a{b,c}d` as `abd` and `acd`. */
function alternatives(pattern: string): string[] {
  const [whole, inside = ''] = /\{([^{}]*)\}/.exec(pattern) ?? []
  if (whole === undefined) return [pattern]
  return [...new Set(inside.split(',').flatMap((choice) => alternatives(pattern.replace(whole, () => choice))))]
}

function expressionOf(part: string): RegExp {
  const source = part.replace(/\[[!^]?[^\]]+\]|[*?]|[^[*?]+|\[/g, (piece) => {
    if (piece === '*') return '[^/]*'
    if (piece === '?') return '[^/]'
    if (piece.length > 2 && piece.startsWith('[')) {
      const inner = piece.slice(1, -1).replace(/^!/, '^').replaceAll('\\', '\\\\')
      return `[${inner}]`
    }
    return piece.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
  })
  return new RegExp(`^${source}$`, 'u')
}

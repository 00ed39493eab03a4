import { writeFileSync } from 'node:fs'
import { arch, cpus, platform } from 'node:os'

/** Rows as a text table: first column left-aligned, the others right-aligned. */
export function formatTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ')
  return all.map(line).join('\n')
}

/** What the figures were measured on. */
export function describeMachine(): Record<string, string | number> {
  const processors = cpus()
  return {
    node: process.version,
    system: `${platform()} ${arch()}`,
    cpu: processors[0]?.model ?? '',
    cores: processors.length,
  }
}

/** Writes results with the machine that they were measured on, where a path is given. */
export function writeResults(path: string | undefined, results: object): void {
  if (path !== undefined)
    writeFileSync(path, `${JSON.stringify({ machine: describeMachine(), ...results }, null, 2)}\n`)
}

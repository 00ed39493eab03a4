import type { Diagnosis } from './doctor-diagnosis.ts'
import { formatBytes, formatTable } from './table.ts'

/** The diagnosis for a terminal. */
export function formatDiagnosis({ vitpass, node, machine, packages, providers, advice }: Diagnosis): string {
  const facts = [
    ['vitpass', vitpass],
    ['node', `${node.version}${node.supported ? '' : ' (too old: 20.19 is the first that works)'}`],
    ['machine', `${machine.platform}, ${machine.cores} cores, ${machine.processor}`],
    ['memory', `${formatBytes(machine.memoryBytes)}, ${formatBytes(machine.freeBytes)} free`],
    ...packages.map(({ name, version, problem }) => [
      name,
      [version, problem].filter((part) => part !== null).join(': '),
    ]),
  ]
  const rows = providers.map(({ provider, works, reason, milliseconds }) => [
    `  ${provider}`,
    works ? `works (${Math.round(milliseconds ?? 0)} ms to open and run a tiny model)` : `no: ${reason}`,
  ])
  return `${[
    ...formatTable(facts),
    ...(rows.length === 0 ? [] : ['', 'providers, each tried on a tiny model', ...formatTable(rows)]),
    ...(advice.length === 0 ? [] : ['', ...advice.map((text) => `note: ${text}`)]),
  ].join('\n')}\n`
}

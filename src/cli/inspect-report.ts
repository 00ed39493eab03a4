import type { Anatomy, BakedSummary, PositionSummary } from '../analysis/anatomy.ts'
import type { InspectReport, PassFit, ValueSummary } from '../pipeline/inspect.ts'
import { formatBytes, formatCount, formatTable } from './table.ts'

/** What `vitpass inspect --json` prints. */
export interface InspectDocument extends InspectReport {
  readonly model: string
  readonly bytes: number
  /** Size of the external data files, 0 where the weights are in the model's own file. */
  readonly externalBytes: number
}

/** The same for a person. */
export function formatInspection(document: InspectDocument): string {
  const { anatomy, notRead } = document
  const lines = [
    ...formatTable([...describeFile(document), ...describeValues(document)]),
    '',
    ...(anatomy === null ? [] : formatTable(describeAnatomy(anatomy))),
    ...(notRead === null ? [] : [`not read as a vision transformer: ${notRead.reason}${at(notRead.node)}`]),
    '',
    ...formatTable(document.passes.map((fit) => [fit.pass, describeFit(fit)])),
  ]
  return `${lines.join('\n')}\n`
}

function describeFile(document: InspectDocument): string[][] {
  const { bytes, externalBytes, producer, irVersion, opsets, nodes, parameters, provenance } = document
  const data = externalBytes === 0 ? '' : ` and ${formatBytes(externalBytes)} of external data`
  const versions = Object.entries(opsets).map(([domain, version]) => `${domain} ${version}`)
  const applied = provenance.passes.map(({ name }) => name)
  return [
    ['model', document.model],
    ['size', `${formatBytes(bytes)}${data}, ${nodes} nodes, ${parameters.toLocaleString('en')} parameters`],
    ['format', [`IR ${irVersion}`, ...versions, ...(producer === '' ? [] : [`by ${producer}`])].join(', ')],
    ...(applied.length === 0 ? [] : [['applied', applied.join(', ')]]),
  ]
}

function describeValues({ inputs, outputs, anatomy }: InspectDocument): string[][] {
  const read = new Map(anatomy?.outputs.map((output) => [output.name, `; ${output.role} ${output.axes}`]))
  return [
    ...inputs.map((value) => ['input', describeValue(value)]),
    ...outputs.map((value) => ['output', `${describeValue(value)}${read.get(value.name) ?? ''}`]),
  ]
}

function describeValue({ name, dtype, dims }: ValueSummary): string {
  return `${name}: ${dtype} [${dims === null ? '?' : dims.map((dim) => dim ?? '?').join(', ')}]`
}

function describeAnatomy(anatomy: Anatomy): string[][] {
  const { input, patch, hidden, prefix, positions, attention, blocks, norms, poolings, baked, problems } = anatomy
  const heads = [...new Set(attention.map((site) => site.heads).filter((n) => n !== null))]
  const pooling = attention.filter(({ kind }) => kind === 'pooling').length
  return [
    ['image', `${input.name}, ${formatCount(input.channels, 'channel')}`],
    ['patch', `${patch.height} x ${patch.width} into ${hidden}, by ${patch.node}`],
    ['prefix', prefix === null ? 'not shown' : `${formatCount(prefix, 'token')} before the patches`],
    ...positions.map((position) => ['positions', describePositions(position)]),
    [
      'attention',
      `${formatCount(blocks, 'block')}${heads.length === 0 ? '' : ` of ${heads.join(' or ')} heads`}${pooling === 0 ? '' : `, ${pooling} pooling`}`,
    ],
    ['layers', `${formatCount(norms, 'norm')}, ${formatCount(poolings.length, 'pooling')} over tokens`],
    ...(describeBaked(baked) === '' ? [] : [['fixed', describeBaked(baked)]]),
    ...problems.map(({ node, reason }) => ['problem', `${reason}${at(node)}`]),
  ]
}

function describePositions(positions: PositionSummary): string {
  const { kind, native, prefix, suffix = 0, resize, coordinates, rightAt, problem, node, sites } = positions
  const where = `${sites > 1 ? ` in ${formatCount(sites, 'place')}, first` : ''}${at(node)}`
  if (problem !== undefined) return `${problem}${where}`
  if (coordinates !== undefined) {
    const wrong =
      rightAt === undefined ? '' : `, made for ${rightAt.rows} x ${rightAt.cols} patches: wrong at other sizes`
    return `${kind}, ${coordinates} coordinates${wrong}${where}`
  }
  const grid = native === null ? 'a table' : `${native.rows} x ${native.cols}`
  const behind = suffix === 0 ? '' : `, ${formatCount(suffix, 'row')} behind it`
  return `${grid}, ${formatCount(prefix, 'row')} before it${behind}, ${resize === 'baked' ? 'added as it is' : `resized ${resize}`}${where}`
}

/** What the export has fixed and `dynshape` frees. */
function describeBaked({ batch, height, width, tied, tokens }: BakedSummary): string {
  const sizes = Object.entries({ batch, height, width, patches: tokens }).filter(([, size]) => size !== null)
  return [...sizes.map(([name, size]) => `${name} ${size}`), ...(tied ? ['height and width share one name'] : [])].join(
    ', ',
  )
}

function describeFit({ fits, status, refusedBy, refusals, notes }: PassFit): string {
  if (fits)
    return [
      status === 'already' ? 'already applied' : 'fits',
      ...notes.filter((note) => note !== 'already applied'),
    ].join('; ')
  if (status === 'nothing') return ['nothing to do', ...notes].join('; ')
  const [first] = refusals
  const more = refusals.length > 1 ? ` (and ${refusals.length - 1} more)` : ''
  if (refusedBy !== undefined) return `refused: requires ${refusedBy}`
  return `refused: ${first?.reason ?? 'it does not apply'}${at(first?.node)}${more}${first?.remedy === undefined ? '' : `; ${first.remedy}`}`
}

function at(node: string | undefined): string {
  return node === undefined ? '' : ` at ${node}`
}

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import type { Model } from '../../src/ir/model.ts'
import { writeModel } from '../../src/onnx/node.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { caseNames, type ExportEntry, exportPath, type GoldenCase, loadCase } from './cases.ts'
import type { ModelSource } from './ort.ts'

const ROOT = resolve(import.meta.dirname, '../..')

/** One export in fixtures/ and the golden case that it belongs to. */
export interface Fixture {
  /** Folder and file: `vit-p16-g4/ts17-eager-interp.onnx`. */
  readonly name: string
  readonly path: string
  readonly goldenCase: GoldenCase
  readonly entry: ExportEntry
}

/** Models of one plain family, whose case.json holds what their anatomy should be. */
const PLAIN = ['ViTModel', 'ViTForImageClassification']

/** Every export of a plain ViT that the goldens describe. Other families are measured by the golden test alone. */
export function allFixtures(): Fixture[] {
  return caseNames(ROOT).flatMap((name) => {
    const goldenCase = loadCase(ROOT, name)
    if (!PLAIN.includes(goldenCase.origin.class)) return []
    return goldenCase.models.map((entry): Fixture => {
      const path = exportPath(goldenCase, entry)
      return { name: `${basename(dirname(path))}/${basename(path)}`, path, goldenCase, entry }
    })
  })
}

/** The fixture whose name ends so. @throws Error where there is none, or more than one */
export function fixture(ending: string): Fixture {
  const [found, other] = allFixtures().filter(({ name }) => name.endsWith(ending))
  if (found === undefined || other !== undefined) throw new Error(`not one fixture ends in ${ending}`)
  return found
}

/** Gives the model to `use` as bytes, or as a file in a temporary folder where weights lie in other files. */
export async function withSource<T>(model: Model, use: (source: ModelSource) => Promise<T>): Promise<T> {
  const external = model.graph.initializers.some((value) => value.tensor?.storage.kind === 'external')
  if (!external) return use(serializeModel(model))
  const folder = mkdtempSync(join(tmpdir(), 'vitpass-'))
  try {
    const path = join(folder, 'model.onnx')
    await writeModel(model, path)
    return await use(path)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

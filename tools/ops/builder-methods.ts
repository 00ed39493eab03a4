import type { ClassDeclaration, Project, SourceFile } from 'ts-morph'
import { type Formal, livingVersions, type OperatorFacts, type SchemaFile } from './facts.ts'
import { FORMER_NAMES, OLDEST_OPSET, type Recipe } from './operators.ts'

/** Inputs that are lists of integers or floats wherever they occur. */
const LISTS = ['axes', 'starts', 'ends', 'steps', 'split', 'pads', 'shape', 'repeats', 'sizes', 'scales', 'roi']

const ATTRIBUTE_TYPES: Readonly<Record<string, string>> = {
  int: 'number',
  float: 'number',
  string: 'string',
  ints: 'readonly number[]',
  floats: 'readonly number[]',
  tensor: 'TensorData',
}

/** One argument of a builder method. */
interface Argument {
  /** Its name in ONNX. */
  readonly onnx: string
  readonly name: string
  readonly type: string
  readonly required: boolean
}

/** How many results there are, where the operator does not say. */
const OUTPUTS: Argument = { onnx: '', name: 'outputs', type: 'number', required: false }

/** Writes the class that has one method for each operator. */
export function builderMethods(
  project: Project,
  path: string,
  file: SchemaFile,
  recipes: Readonly<Record<string, Recipe>>,
): SourceFile {
  const source = project.createSourceFile(path, '', { overwrite: true })
  source.addImportDeclarations([
    { moduleSpecifier: '../../ir/dtype.ts', namedImports: ['DType'], isTypeOnly: true },
    { moduleSpecifier: '../../ir/value.ts', namedImports: ['Value'], isTypeOnly: true },
    { moduleSpecifier: '../constants.ts', namedImports: ['TensorData'], isTypeOnly: true },
    {
      moduleSpecifier: '../emitter.ts',
      namedImports: [
        'Emitter',
        { name: 'Indices', isTypeOnly: true },
        { name: 'List', isTypeOnly: true },
        { name: 'Naming', isTypeOnly: true },
        { name: 'Operand', isTypeOnly: true },
      ],
    },
  ])
  const built = source.addClass({
    name: 'OperatorBuilder',
    isExported: true,
    extends: 'Emitter',
    docs: [
      "One method for each operator that passes emit; the model's opset decides how it is written. `Builder` adds emulations\nfor what older opsets lack: use that class.",
    ],
  })
  for (const [op, recipe] of Object.entries(recipes))
    addMethod(source, built, op, recipe, livingVersions(file, op, OLDEST_OPSET))
  return source
}

function addMethod(
  source: SourceFile,
  built: ClassDeclaration,
  op: string,
  recipe: Recipe,
  versions: readonly OperatorFacts[],
): void {
  const newest = versions.at(-1)
  if (newest === undefined) throw new Error(`${op} has no version that models use`)
  const isPositional = ([name, kind]: Formal): boolean => kind !== 'optional' && !recipe.options?.includes(name)
  const wasAttribute = (name: string): boolean => versions.some((version) => version.attributes[name] !== undefined)
  const positional = newest.in.filter((formal) => isPositional(formal) && !wasAttribute(formal[0]))
  const inputs = newest.in.filter((formal) => !positional.includes(formal))
  const attributes = [...new Set(versions.flatMap((version) => Object.keys(version.attributes)))].filter(
    (name) => !newest.in.some((formal) => formal[0] === name) && !Object.values(FORMER_NAMES[op] ?? {}).includes(name),
  )
  const options: Argument[] = [
    ...inputs.map((formal) => inputArgument(formal, recipe, newest)),
    ...attributes.map((name) => attributeArgument(name, recipe, versions)),
  ]
  const operands = positional.map((formal) => inputArgument(formal, recipe, newest))
  const required = options.some((option) => option.required)
  const many = recipe.outputs === 'many'
  const properties = many ? [...options, OUTPUTS] : options
  if (properties.length > 0) {
    source.insertInterface(built.getChildIndex(), {
      name: `${op}Options`,
      isExported: true,
      extends: ['Naming'],
      properties: properties.map(({ name, type, required }) => ({
        name,
        type: required ? type : `${type} | undefined`,
        hasQuestionToken: !required,
        isReadonly: true,
      })),
    })
  }
  const args = [
    ...operands.map((o) => entry(o, o.name, recipe)),
    ...options.map((o) => entry(o, `options.${o.name}`, recipe)),
  ]
  const [maker, result] = many
    ? ['call', 'Value[]']
    : recipe.outputs === 2
      ? ['pair', '[Value, Value]']
      : ['one', 'Value']
  const call = `this.${maker}('${op}', ${record(args)}, options${many ? ', options.outputs' : ''})`
  built.addMethod({
    name: op.charAt(0).toLowerCase() + op.slice(1),
    docs: [describe(op, versions)],
    parameters: [
      ...operands.map(({ name, type }) => ({ name, type })),
      {
        name: 'options',
        type: options.length > 0 ? `${op}Options` : 'Naming',
        ...(required ? {} : { initializer: '{}' }),
      },
    ],
    returnType: result,
    statements: [`return ${call}`],
  })
}

/** An object literal, on several lines where it is long. */
function record(entries: readonly string[]): string {
  const line = entries.join(', ')
  return line.length < 60 ? `{ ${line} }` : `{\n${entries.join(',\n')},\n}`
}

function entry(argument: Argument, expression: string, recipe: Recipe): string {
  const listed = recipe.lists?.includes(argument.onnx)
    ? `typeof ${expression} === 'number' ? [${expression}] : ${expression}`
    : expression
  return argument.onnx === listed ? listed : `${argument.onnx}: ${listed}`
}

function inputArgument([onnx, kind]: Formal, recipe: Recipe, newest: OperatorFacts): Argument {
  const scalar = recipe.scalars?.includes(onnx) ?? false
  const base = recipe.types?.[onnx] ?? (scalar ? 'Operand' : LISTS.includes(localName(onnx, recipe)) ? 'List' : 'Value')
  const required = kind !== 'optional' && newest.in.some((formal) => formal[0] === onnx && formal[1] !== 'optional')
  return { onnx, name: localName(onnx, recipe), type: kind === 'variadic' ? `readonly ${base}[]` : base, required }
}

function attributeArgument(onnx: string, recipe: Recipe, versions: readonly OperatorFacts[]): Argument {
  const facts = versions.findLast((version) => version.attributes[onnx] !== undefined)?.attributes[onnx]
  const type = recipe.types?.[onnx] ?? ATTRIBUTE_TYPES[facts?.type ?? '']
  if (type === undefined) throw new Error(`attribute ${onnx} has type ${facts?.type}, which no builder writes`)
  return { onnx, name: localName(onnx, recipe), type, required: facts?.required === true }
}

/** `X` becomes `x`, `K` becomes `k`; ONNX spells the rest as TypeScript may. */
function localName(onnx: string, recipe: Recipe): string {
  return recipe.rename?.[onnx] ?? onnx.charAt(0).toLowerCase() + onnx.slice(1)
}

/** Says since when the operator exists and which arguments changed from attribute to input. */
function describe(op: string, versions: readonly OperatorFacts[]): string {
  const first = versions[0]?.since ?? 1
  const lines = [first <= OLDEST_OPSET ? `${op}.` : `${op}, from opset ${first}.`]
  for (const version of versions.slice(1)) {
    const before = versions[versions.indexOf(version) - 1]
    const moved = version.in.map(([name]) => name).filter((name) => before?.attributes[name] !== undefined)
    const added = [...Object.keys(version.attributes), ...version.in.map(([name]) => name)].filter(
      (name) => before?.attributes[name] === undefined && !before?.in.some((formal) => formal[0] === name),
    )
    if (moved.length > 0) lines.push(`From ${version.since} an input: ${moved.join(', ')}.`)
    if (added.length > 0) lines.push(`From ${version.since}: ${added.join(', ')}.`)
  }
  return lines.join(' ')
}

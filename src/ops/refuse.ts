import { VitpassError } from '../errors.ts'
import type { DType } from '../ir/dtype.ts'
import { allowedTypes, type Formal, type OperatorSchema, versionsOf } from './schema.ts'

function raise(since: number | undefined, otherwise: string): string {
  return since === undefined ? otherwise : `raise the model's opset to ${since} or later`
}

/** The refusal of an operator that the opset does not have. */
export function refuseOperator(op: string, opset: number, scope?: string): VitpassError {
  const since = versionsOf(op).find((version) => version.since > opset)?.since
  const message = since === undefined ? `operator ${op} is not known` : `opset ${opset} has no operator ${op}`
  return new VitpassError('MODEL_UNSUPPORTED', message, {
    ...(scope === undefined ? {} : { node: `${scope}/${op}` }),
    remedy: raise(since, 'use an operator that the schema tables hold'),
  })
}

/** The refusal of an argument that the opset lacks, or that it takes as an attribute where only the run will tell its value. */
export function refuseArgument(schema: OperatorSchema, name: string, opset: number, computed: boolean): VitpassError {
  const later = versionsOf(schema.op).filter((version) => version.since > opset)
  const since = later.find(
    (version) => version.inputs.some((input) => input.name === name) || (!computed && version.attributes.has(name)),
  )?.since
  const message = computed
    ? `${name} of ${schema.op} is an attribute in opset ${opset} and cannot be computed`
    : `${schema.op} has no ${name} in opset ${opset}`
  return new VitpassError('MODEL_UNSUPPORTED', message, { remedy: raise(since, `leave ${name} out`) })
}

/** The refusal to leave out an input: later opsets may not require it. */
export function refuseMissing(schema: OperatorSchema, formal: Formal, opset: number): VitpassError {
  const since = versionsOf(schema.op).find((version) => {
    const same = version.inputs.find((input) => input.name === formal.name)
    return version.since > opset && same?.kind !== 'single'
  })?.since
  const message = `${schema.op} of opset ${opset} requires ${formal.name}`
  const code = since === undefined ? 'INTERNAL' : 'MODEL_UNSUPPORTED'
  return new VitpassError(code, message, { remedy: raise(since, `give ${formal.name}`) })
}

/** The refusal of an element type that the opset's version of the operator does not take. */
export function refuseType(
  schema: OperatorSchema,
  formal: Formal,
  dtype: DType,
  opset: number,
  value: string,
): VitpassError {
  const since = versionsOf(schema.op).find((version) => {
    const same = [...version.inputs, ...version.outputs].find((other) => other.name === formal.name)
    return version.since > opset && same !== undefined && allowedTypes(version, same.type).has(dtype)
  })?.since
  const message = `${schema.op} of opset ${opset} does not take ${dtype} for ${formal.name} (${value})`
  return new VitpassError('MODEL_UNSUPPORTED', message, { remedy: raise(since, 'cast it to a type that it takes') })
}

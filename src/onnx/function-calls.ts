import { VitpassError } from '../errors.ts'
import type { Model } from '../ir/model.ts'

/** Calls inside calls; ONNX Runtime expands them one in another and crashes on very deep ones. */
const MAX_DEPTH = 64

/** @throws VitpassError MODEL_INVALID where functions of the model call each other in a circle, MODEL_UNSUPPORTED where too deeply */
export function checkCalls(model: Model): void {
  const keyOf = (each: { readonly domain: string; readonly overload: string }, name: string): string =>
    [each.domain, name, each.overload].join('\0')
  const calls = new Map<string, ReadonlySet<string>>()
  for (const each of model.functions) {
    calls.set(keyOf(each, each.name), new Set([...each.graph.walk()].map((node) => keyOf(node, node.opType))))
  }
  const heights = new Map<string, number>()
  const height = (key: string, path: ReadonlySet<string>): number => {
    const known = heights.get(key)
    const called = calls.get(key)
    if (known !== undefined || called === undefined) return known ?? 0
    const name = key.split('\0')[1]
    if (path.has(key)) throw new VitpassError('MODEL_INVALID', `function ${name} calls itself`)
    if (path.size === MAX_DEPTH)
      throw new VitpassError('MODEL_UNSUPPORTED', `functions call each other ${MAX_DEPTH} deep`)
    const inside = new Set(path).add(key)
    let found = 1
    for (const other of called) found = Math.max(found, 1 + height(other, inside))
    heights.set(key, found)
    return found
  }
  for (const key of calls.keys()) {
    if (height(key, new Set()) > MAX_DEPTH) {
      throw new VitpassError('MODEL_UNSUPPORTED', `functions call each other more than ${MAX_DEPTH} deep`)
    }
  }
}

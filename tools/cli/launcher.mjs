#!/usr/bin/env node
/**
 * Starts the bundled command line with the bytecode that V8 made of it at build time. Another V8 than that of the build rejects the bytecode
 * and compiles the text: slower by some hundredths of a second, and otherwise the same.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { Script } from 'node:vm'

// A command lives for a fraction of a second: optimised code pays only for loops much hotter than V8 takes for hot, and marking a heap of
// a few megabytes in small steps takes longer than marking it at once.
setFlagsFromString('--interrupt-budget=500000')
setFlagsFromString('--no-incremental-marking')

const url = new URL('vitpass.cjs', import.meta.url)
const file = fileURLToPath(url)

/** The bundle as a function of what a CommonJS module knows. */
export const script = new Script(readFileSync(file, 'utf8'), { filename: file, cachedData: readBytecode() })

script.runInThisContext()(createRequire(url), { exports: {} }, url.href, dirname(file))

function readBytecode() {
  try {
    return readFileSync(`${file}.bytecode`)
  } catch {
    return undefined
  }
}

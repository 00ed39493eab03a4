/**
 * Bundles the compiled command line, with the packages that it starts with, into a few files: loading a hundred modules one by one takes
 * longer than rewriting a small model. Licences of the packages inside go to LICENSES.txt beside it.
 *
 *     node tools/bundle-cli.mjs      after tsc; part of `npm run build`
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'

const FOLDER = 'dist/src/cli'

const { metafile } = await build({
  // The encoder starts its threads from a file beside the one it is in itself.
  entryPoints: { main: join(FOLDER, 'main.js'), 'encoder-thread': 'dist/src/runtime/encoder-thread.js' },
  outdir: FOLDER,
  allowOverwrite: true,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  minifySyntax: true,
  // Native code and what only some commands need stay packages of their own.
  external: ['onnxruntime-node', 'cli-progress'],
  banner: {
    js: "import { createRequire as bundleRequire } from 'node:module'; const require = bundleRequire(import.meta.url);",
  },
  metafile: true,
  logLevel: 'warning',
})

const packages = new Set(
  Object.keys(metafile.inputs).flatMap((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.slice(1) ?? []),
)
const licences = [...packages].sort().map((name) => {
  const folder = join('node_modules', name)
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry))
  const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const text =
    file !== undefined && existsSync(join(folder, file)) ? readFileSync(join(folder, file), 'utf8').trim() : license
  return `${name} ${version} (${license})\n\n${text}\n`
})
writeFileSync(join(FOLDER, 'LICENSES.txt'), licences.join('\n----\n\n'))

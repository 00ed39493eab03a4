/**
 * Bundles the compiled command line, with the packages that it starts with, into one file: loading a hundred modules one by one takes longer
 * than rewriting a small model. `main.js` becomes the launcher of it. Licences of the packages inside go to LICENSES.txt beside it.
 *
 *     node tools/cli/bundle.mjs      after tsc; part of `npm run build`
 */
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { build } from 'esbuild'

const FOLDER = 'dist/src/cli'
const TOOLS = import.meta.dirname

const { metafile } = await build({
  entryPoints: [join(FOLDER, 'main.js')],
  outfile: join(FOLDER, 'vitpass.cjs'),
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20.19',
  minifySyntax: true,
  // A script that runs from kept bytecode cannot import: what is left outside is required.
  supported: { 'dynamic-import': false },
  // Native code and what only some commands need stay packages of their own.
  external: ['onnxruntime-node', 'sharp', 'cli-progress'],
  alias: { 'string-width': resolve(TOOLS, 'plain-width.mjs') },
  define: { 'import.meta.url': 'bundleUrl', 'import.meta.dirname': 'bundleFolder' },
  banner: { js: '(function (require, module, bundleUrl, bundleFolder) { const { exports } = module' },
  footer: { js: '})' },
  metafile: true,
  logLevel: 'warning',
})
copyFileSync(join(TOOLS, 'launcher.mjs'), join(FOLDER, 'main.js'))
rmSync(join(FOLDER, 'main.js.map'), { force: true })

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

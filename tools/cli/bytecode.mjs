/**
 * Runs the built command line once on a fixture and keeps the bytecode that V8 made for it, beside the bundle:
 *
 *     node tools/cli/bytecode.mjs      after bundle.mjs; part of `npm run build`
 */
import { writeFileSync } from 'node:fs'

const MODEL = 'fixtures/vit-p16-g4/ts17-eager-interp.onnx'

process.argv = [process.argv[0], 'vitpass', 'run', MODEL, '--passes', 'mask,posenc,zero', '--dry-run', '--json']
process.stdout.write = () => true
const { script } = await import('../../dist/src/cli/main.js')
process.on('exit', () => {
  if (process.exitCode) throw new Error(`the command line ended with ${process.exitCode}`)
  writeFileSync('dist/src/cli/vitpass.cjs.bytecode', script.createCachedData())
})

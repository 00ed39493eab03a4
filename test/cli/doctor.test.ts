import { availableParallelism } from 'node:os'
import { describe, expect, it } from 'vitest'
import { probeProvider } from '../../src/runtime/provider-probe.ts'
import { shell, vitpass } from './command.ts'

describe('vitpass doctor', () => {
  it('tells what runs here, and why the rest does not', () => {
    const { code, stdout, stderr } = vitpass(['doctor'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^node +${process.versions.node}$`, 'm'))
    expect(stdout).toMatch(/^onnxruntime-node +\d+\.\d+\.\d+$/m)
    expect(stdout).toMatch(/^sharp +\d+\.\d+\.\d+$/m)
    expect(stdout).toMatch(/^ {2}cpu +works \(\d+ ms to open and run a tiny model\)$/m)
  })

  it('tells the same as one JSON document', () => {
    const { code, stdout } = vitpass(['doctor', '--json'])
    expect(code).toBe(0)
    const { machine, packages, providers, advice } = JSON.parse(stdout)
    expect(machine.cores).toBe(availableParallelism())
    expect(packages.map(({ name, problem }: { name: string; problem: string | null }) => [name, problem])).toEqual([
      ['onnxruntime-node', null],
      ['sharp', null],
    ])
    expect(providers[0]).toMatchObject({ provider: 'cpu', works: true, reason: null })
    for (const { provider, works, reason } of providers) {
      expect(works ? reason === null : typeof reason === 'string' && reason !== '').toBe(true)
      if (provider === 'cuda') expect(advice.some((text: string) => text.includes('CUDA'))).toBe(!works)
    }
  })

  it('answers too where nothing is installed', () => {
    // The build alone, where no package is found.
    const { code, stdout } = shell(
      'folder=$(mktemp -d) && cp -r dist package.json "$folder" && cd "$folder" && node dist/src/cli/main.js doctor; code=$?; rm -r "$folder"; exit $code',
    )
    expect(code).toBe(0)
    expect(stdout).toMatch(/^onnxruntime-node +it is not installed$/m)
    expect(stdout).toMatch(/^sharp +it is not installed$/m)
    expect(stdout).toMatch(/^note: to run models: npm install/m)
    expect(stdout).not.toMatch(/providers/)
  })
})

describe('probeProvider', () => {
  it('says that a provider is unknown', async () => {
    const probe = await probeProvider({ provider: 'nonsense', model: new Uint8Array() })
    expect(probe).toMatchObject({ provider: 'nonsense', works: false, milliseconds: null })
    expect(probe.reason).toMatch(/./)
  })

  it('gives up on one that does not come to an end', async () => {
    const probe = await probeProvider({ provider: 'cpu', model: new Uint8Array() }, 1)
    expect(probe).toMatchObject({ works: false, reason: expect.stringMatching(/SIGKILL/) })
  })
})

import { arch, availableParallelism, cpus, freemem, platform, totalmem } from 'node:os'
import { Graph } from '../ir/graph.ts'
import { Model } from '../ir/model.ts'
import { Value } from '../ir/value.ts'
import { serializeModel } from '../onnx/serialize.ts'
import { Builder } from '../ops/builder.ts'
import { type PackageState, packageState } from '../runtime/package-state.ts'
import { type ProviderProbe, probeProvider } from '../runtime/provider-probe.ts'
import { packageVersion } from './version.ts'

export interface Diagnosis {
  readonly vitpass: string
  readonly node: { readonly version: string; readonly supported: boolean }
  readonly machine: {
    readonly platform: string
    readonly processor: string
    readonly cores: number
    readonly memoryBytes: number
    readonly freeBytes: number
  }
  readonly packages: readonly PackageState[]
  readonly providers: readonly ProviderProbe[]
  /** What would make more possible here. */
  readonly advice: readonly string[]
}

/** Looks at the machine, and tries each provider for real. */
export async function diagnose(onStep: (doing: string) => void): Promise<Diagnosis> {
  const packages = [await packageState('onnxruntime-node'), await packageState('sharp')]
  const runtime = packages[0]?.problem === null
  const providers: ProviderProbe[] = []
  const model = plusOne()
  for (const provider of runtime ? providersHere() : []) {
    onStep(`trying ${provider}`)
    providers.push(await probeProvider({ provider, model }))
  }
  const diagnosis = {
    vitpass: packageVersion(),
    node: { version: process.versions.node, supported: isSupported(process.versions.node) },
    machine: {
      platform: `${platform()} ${arch()}`,
      processor: cpus()[0]?.model.trim() ?? 'unknown',
      cores: availableParallelism(),
      memoryBytes: totalmem(),
      freeBytes: freemem(),
    },
    packages,
    providers,
  }
  return { ...diagnosis, advice: adviceFor(diagnosis) }
}

/** What onnxruntime-node can have on this platform. */
function providersHere(): string[] {
  switch (platform()) {
    case 'darwin':
      return ['cpu', 'coreml', 'webgpu']
    case 'win32':
      return ['cpu', 'cuda', 'tensorrt', 'dml', 'webgpu']
    default:
      return ['cpu', 'cuda', 'tensorrt', 'webgpu']
  }
}

function isSupported(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 20 || (major === 20 && minor >= 19)
}

/** A model that adds one to a float. */
function plusOne(): Uint8Array {
  const graph = new Graph('plus one')
  const input = new Value('x')
  input.type = { kind: 'tensor', dtype: 'float', dims: [1] }
  graph.addInput(input)
  const output = new Builder(graph, 17).add(input, 1)
  output.type = { kind: 'tensor', dtype: 'float', dims: [1] }
  graph.addOutput(output)
  return serializeModel(new Model(8, new Map([['', 17]]), graph))
}

function adviceFor({ node, packages, providers }: Omit<Diagnosis, 'advice'>): string[] {
  const works = (name: string): boolean => providers.some(({ provider, works }) => provider === name && works)
  const tried = (name: string): boolean => providers.some(({ provider }) => provider === name)
  const broken = (name: string): boolean => packages.some((state) => state.name === name && state.problem !== null)
  return [
    ...(node.supported ? [] : ['install Node 20.19 or later']),
    ...(broken('onnxruntime-node')
      ? ['to run models: npm install --ignore-scripts onnxruntime-node (its script would fetch CUDA libraries)']
      : []),
    ...(broken('sharp') ? ['to decode images: npm install sharp'] : []),
    ...(tried('cuda') && !works('cuda')
      ? [
          'for CUDA, with an NVIDIA GPU and its driver: ONNXRUNTIME_NODE_INSTALL=true npm rebuild onnxruntime-node fetches the libraries for CUDA 12; or put libonnxruntime_providers_cuda.so and libonnxruntime_providers_shared.so from the onnxruntime-gpu wheel of the same version beside onnxruntime_binding.node, and the cublas, cudart, curand and cudnn libraries of its CUDA on LD_LIBRARY_PATH',
        ]
      : []),
    ...(tried('webgpu') && !works('webgpu')
      ? ['for WebGPU on Linux: a Vulkan driver, or SwiftShader with VK_ICD_FILENAMES, which needs no GPU and is slow']
      : []),
  ]
}

export { drawImage, normals, pixelNoise } from '../../src/verify/noise.ts'

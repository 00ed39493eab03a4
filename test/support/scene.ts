export { pixelInput, SIZES_INPUT } from '../../src/verify/scene.ts'

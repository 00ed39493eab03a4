import { defineConfig } from 'vitest/config'

/** The tests of the command line run the build as a child process; the others run the sources and need no build. */
export default defineConfig({
  test: {
    testTimeout: 120_000,
    hookTimeout: 120_000,
    projects: [
      { extends: true, test: { name: 'core', include: ['test/**/*.test.ts'], exclude: ['test/cli/**'] } },
      { extends: true, test: { name: 'cli', include: ['test/cli/**/*.test.ts'], globalSetup: ['test/cli/build.ts'] } },
    ],
  },
})

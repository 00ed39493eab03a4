import { readFileSync } from 'node:fs'

/**
 * Prints "passed failed skipped" from a report of vitest's JSON reporter.
 *
 *   node tools/ci/count-tests.mjs report.json <exit status of vitest>
 *
 * A run that failed otherwise than by a test (a file that does not load, a crash, no report at all) counts as one failure.
 */
const [, , file, status] = process.argv
const { passed, failed, skipped } = readCounts(file)
const crashed = status !== '0' && failed === 0
process.stdout.write(`${passed} ${crashed ? 1 : failed} ${skipped}\n`)

function readCounts(path) {
  try {
    const report = JSON.parse(readFileSync(path, 'utf8'))
    const unloaded = report.testResults.filter(
      (suite) => suite.status === 'failed' && suite.assertionResults.length === 0,
    )
    return {
      passed: report.numPassedTests,
      failed: report.numFailedTests + unloaded.length,
      skipped: report.numPendingTests + report.numTodoTests,
    }
  } catch (error) {
    process.stderr.write(`the test report cannot be read: ${error.message}\n`)
    return { passed: 0, failed: 1, skipped: 0 }
  }
}

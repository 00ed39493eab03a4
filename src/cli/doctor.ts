import type { Argv, CommandModule } from 'yargs'
import { formatDiagnosis } from './doctor-report.ts'
import { print } from './print.ts'
import { stepLine } from './step-line.ts'

interface DoctorFlags {
  readonly json: boolean
}

/** `vitpass doctor`: what this machine can run, and how it could run more. It always answers 0: bad news is an answer. */
export const doctorCommand: CommandModule<object, DoctorFlags> = {
  command: 'doctor',
  describe: 'show what this machine can run, and how to get more',
  builder: (yargs: Argv) =>
    yargs.option('json', { describe: 'print one JSON document', type: 'boolean', default: false }),
  handler: diagnoseAndPrint,
}

async function diagnoseAndPrint({ json }: DoctorFlags): Promise<void> {
  const { diagnose } = await import('./doctor-diagnosis.ts')
  const line = stepLine(process.stderr)
  const diagnosis = await diagnose((doing) => line.show(doing)).finally(() => line.clear())
  print(json ? `${JSON.stringify(diagnosis)}\n` : formatDiagnosis(diagnosis))
}

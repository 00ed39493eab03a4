import type { Argv, CommandModule } from 'yargs'
import { goldenCheckCommand } from './golden-check.ts'
import { goldenRecordCommand } from './golden-record.ts'

/** `vitpass golden`: exports held against answers that are kept in files. */
export const goldenCommand: CommandModule = {
  command: 'golden <command>',
  describe: 'hold exports against recorded answers for each image alone, or record them',
  builder: (yargs: Argv) =>
    yargs
      .usage('$0 golden <command> [options]')
      .command(goldenCheckCommand)
      .command(goldenRecordCommand)
      .demandCommand(1, 'check or record is missing'),
  handler: () => {},
}

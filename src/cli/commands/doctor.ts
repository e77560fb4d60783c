import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { diagnose } from '../../doctor/diagnose.js';
import { gatherFacts } from '../../doctor/facts.js';
import type { ContextOf } from '../context.js';
import { EXIT } from '../failures.js';
import { objectText } from '../output.js';
import { localSettings } from '../settings.js';
import { printable, tableOf } from '../text.js';

export function register(command: Command, contextOf: ContextOf): void {
  command
    .option('--config <path>', 'configuration file of the daemon')
    .action(async ({ config }: { config?: string }) => {
      const context = contextOf();
      const { format, print, env } = context;
      const settings = localSettings(env, config, (path) => readFileSync(path, 'utf8'));
      const findings = diagnose(await gatherFacts(settings));
      const isWell = findings.every(({ status }) => status !== 'problem');
      if (!isWell) context.exitCode = EXIT.failed;
      if (format !== 'table') return print(await objectText(format, { ok: isWell, checks: findings }));
      const rows = findings.map(({ name, status, message }) => [name, status, message]);
      const advice = findings.flatMap(({ name, advice }) =>
        advice === undefined ? [] : [`  ${name}: ${printable(advice)}\n`],
      );
      await print(tableOf(['CHECK', 'RESULT', 'MESSAGE'], rows));
      if (advice.length > 0) await print(`\nWhat to do:\n${advice.join('')}`);
    });
}

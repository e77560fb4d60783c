// Runs the steps of the scenario in the guest. Each prints `RESULT <name>: ok|not ok|skipped <detail>`; a step
// after a failed one is skipped, since it stands on it. `DONE` says that all of them were reached.

import { readFileSync } from 'node:fs';
import { Daemon } from './daemon.mjs';
import { steps } from './scenario.mjs';

console.log(readFileSync('/proc/version', 'utf8').trim());
console.log(`node ${process.version}`);

let broken = false;
for (const [name, step] of steps) {
  if (broken) {
    console.log(`RESULT ${name}: skipped after a failed step`);
    continue;
  }
  const started = performance.now();
  try {
    await step();
    console.log(`RESULT ${name}: ok (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  } catch (error) {
    broken = true;
    console.log(error.stack);
    console.log(`the end of the daemon's log:\n${Daemon.log().slice(-4000)}`);
    console.log(`RESULT ${name}: not ok ${error.message.split('\n')[0]}`);
  }
}
console.log('DONE');
process.exit(0);

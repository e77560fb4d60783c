#!/usr/bin/env node
/** The daemon: the only place that reads arguments and environment, handles signals and ends the process. */
import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { startApp } from '../app.js';
import { AppError, asAppError } from '../model/errors.js';
import { renderSettingsHelp } from '../model/settings.js';
import { asksForHelp, loadSettings } from '../model/settings-load.js';
import { collectGarbage, growSlowly } from './heap.js';

/** Removing an interface blocks a thread of the pool for tens of milliseconds; four of them would be a queue. */
process.env.UV_THREADPOOL_SIZE ??= '16';

growSlowly();

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

async function main(): Promise<void> {
  const argv = process.argv.slice(2);
  if (asksForHelp(argv)) {
    process.stdout.write(`Usage: quantum-api [settings]\n\n${renderSettingsHelp()}`);
    return;
  }
  const settings = loadSettings({ argv, env: process.env, readFile: (path) => readFileSync(path, 'utf8') });
  const log = pino({ level: settings.log_level, base: null }, pino.destination({ dest: 2, sync: true }));

  let asked: NodeJS.Signals | undefined;
  let stop: (() => void) | undefined;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      // The second one does not wait: nothing is lost, the next start repairs.
      if (asked !== undefined) process.exit(1);
      asked = signal;
      stop?.();
    });
  }

  const app = await startApp({ settings, version, log, notifySocket: process.env.NOTIFY_SOCKET });
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  if (asked !== undefined) stop?.();
  collectGarbage();
  process.stdout.write(
    [
      '',
      `Quantum-Network ${version} is ready.`,
      `  REST API   ${app.url ?? '(no TCP listener)'}  (root only; description at /docs)`,
      `  socket     ${app.socketPath}`,
      '',
      'Next, as root in another terminal:',
      ...(app.url === undefined
        ? ['  quantumctl network list']
        : [
            `  curl -X POST -H "Content-Type: application/json" -d '{"name":"my-network","cidr":"172.17.0.0/16"}' ${app.url}/networks`,
            `  curl ${app.url}/networks`,
          ]),
      '',
    ].join('\n'),
  );
  await stopped;
  log.info({ signal: asked }, 'stopping; containers keep their network');
  await app.stop();
}

try {
  await main();
} catch (error) {
  const known = asAppError(error);
  const hint = known.hint === undefined ? '' : `\n  ${known.hint}`;
  process.stderr.write(`quantum-api: ${known.code}: ${known.message}${hint}\n`);
  if (!(error instanceof AppError)) console.error(error);
  else if (known.cause instanceof Error) process.stderr.write(`  cause: ${known.cause.message}\n`);
  process.exitCode = known.exitCode;
}

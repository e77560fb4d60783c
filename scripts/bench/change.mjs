/**
 * A change of one rule until it is in force: compiled, on disk, in the maps, and the epoch advanced. From the call of the
 * service, and from the request of a client on the socket: the same with all that HTTP and the API add.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parsePolicy } from '../../dist/model/policy.js';
import { IDENTITIES, policyNode } from './change-node.mjs';
import { Cleanup } from './cleanup.mjs';
import { tenRules } from './policy.mjs';
import { end, lineOf } from './processes.mjs';
import { line } from './report.mjs';
import { Rest } from './rest.mjs';
import { median } from './statistics.mjs';

const SERVER = fileURLToPath(new URL('change-server.mjs', import.meta.url));
/** It compiles 100,000 rules and writes them to the disk and into the maps. */
const READY_MS = 300_000;
/** Until the kernel has forgotten the change before. */
const PAUSE_MS = 200;

export async function change({ rounds }) {
  return [...(await byService(rounds)), ...(await byRequest(rounds))];
}

function byService(rounds) {
  return Cleanup.during(async (cleanup) => {
    const { policies } = await policyNode(cleanup);
    return measure('the call of the service', rounds, (policy) => policies.apply([parsePolicy(policy)]));
  });
}

function byRequest(rounds) {
  return Cleanup.during(async (cleanup) => {
    const directory = mkdtempSync(join(tmpdir(), 'quantum-bench-change-'));
    cleanup.add(() => rmSync(directory, { recursive: true }));
    const [socketPath, log] = [join(directory, 'api.sock'), join(directory, 'log')];
    const rest = new Rest(socketPath);
    cleanup.add(() => rest.close());
    const file = openSync(log, 'a');
    const server = spawn(process.execPath, [SERVER, socketPath], { stdio: ['ignore', 'pipe', file] });
    closeSync(file);
    cleanup.add(() => end(server));
    await lineOf(server, /is ready/, READY_MS).catch((error) => {
      throw new Error(`${error.message}\n${readFileSync(log, 'utf8').slice(-2000)}`);
    });
    return measure('POST /policies', rounds, (policy) => rest.call('POST', '/policies', policy));
  });
}

async function measure(from, rounds, apply) {
  const [apart, inARow] = [[], []];
  for (let round = 0; round <= 10 * rounds; round++) {
    const times = round % 2 === 0 ? apart : inARow;
    // In a row: this one waits until no program reads what the one before replaced.
    if (times === apart) await delay(PAUSE_MS);
    const begin = performance.now();
    await apply(tenRules(round, 82 + round));
    if (round > 1) times.push(performance.now() - begin);
  }
  const about = { part: 'change', unit: 'ms', goal: '<= 50' };
  const what = `one of 100,000 rules, ${IDENTITIES} identities, from ${from} until in force`;
  return [
    line({ ...about, what, ours: median(apart) }),
    line({ ...about, what: `${what}, right after another`, ours: median(inARow) }),
  ];
}

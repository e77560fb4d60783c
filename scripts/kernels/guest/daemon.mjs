// The daemon as a process of the guest, and requests to its API.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const PROGRAM = new URL('../../../dist/bin/quantum-api.js', import.meta.url).pathname;
const API = 'http://127.0.0.1:9443';
const LOG = '/tmp/quantum-api.log';
/** A connection of its own: the daemon may close one that was idle just when it is used again. */
const ALONE = { connection: 'close' };
const READY_LIMIT_MS = 240_000;

export class Daemon {
  #process;

  /** Resolves when /readyz says yes. */
  async start() {
    const log = openSync(LOG, 'a');
    this.#process = spawn(process.execPath, [PROGRAM, '--uplink', 'none'], { stdio: ['ignore', log, log] });
    const deadline = Date.now() + READY_LIMIT_MS;
    while (!(await isReady())) {
      if (this.#process.exitCode !== null) throw new Error(`the daemon ended with ${this.#process.exitCode}`);
      if (Date.now() > deadline) throw new Error('the daemon does not get ready');
      await delay(200);
    }
  }

  /** SIGKILL: it gets no chance to clean up. */
  async kill() {
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await ended;
  }

  static log() {
    return existsSync(LOG) ? readFileSync(LOG, 'utf8') : '';
  }
}

async function isReady() {
  try {
    return (await fetch(`${API}/readyz`, { headers: ALONE })).ok;
  } catch {
    return false;
  }
}

/** What an answer says that is no JSON. */
export async function requestText(path) {
  return (await fetch(`${API}${path}`, { headers: ALONE })).text();
}

/** Sends JSON, returns the parsed answer; fails on any status but 2xx. */
export async function request(method, path, body) {
  const answer = await fetch(`${API}${path}`, {
    method,
    ...(body === undefined
      ? { headers: ALONE }
      : { headers: { 'content-type': 'application/json', ...ALONE }, body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

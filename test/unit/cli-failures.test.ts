import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '../../src/model/errors.js';
import { runCtl } from '../support/ctl.js';
import { type ServedApi, servedApi } from '../support/fake-api.js';

let api: ServedApi;
let directory: string;
beforeEach(async () => {
  api = await servedApi();
  directory = mkdtempSync(join(tmpdir(), 'quantum-cli-'));
});
afterEach(async () => {
  await api.close();
  rmSync(directory, { recursive: true });
});

const ctl = (...args: string[]) => runCtl(['--socket', api.socketPath, ...args]);
const makeNetwork = () => ctl('network', 'create', 'front', '--cidr', '10.1.0.0/16');

describe('the way to the daemon', () => {
  it('may be TCP', async () => {
    const url = `http://127.0.0.1:${api.port}`;
    expect((await runCtl(['--api', url, 'network', 'list'])).exit).toBe(0);
    expect((await runCtl(['network', 'list', '--api', url])).exit).toBe(0);
  });

  it('follows the run_dir of the environment', async () => {
    const env = { QUANTUM_RUN_DIR: join(api.socketPath, '..') };
    expect((await runCtl(['network', 'list'], { env })).exit).toBe(0);
  });

  it.each(['https://127.0.0.1:1', 'ftp://x', 'nonsense', 'http://127.0.0.1:1/api'])(
    'is not %s',
    async (url) => {
      expect((await runCtl(['--api', url, 'network', 'list'])).exit).toBe(2);
    },
  );

  it('says what to look for when nobody is there', async () => {
    const { exit, err } = await runCtl(['--socket', join(directory, 'none.sock'), 'status']);
    expect(exit).toBe(3);
    expect(err).toContain('there is no such socket; is quantum-api running?');
  });

  it('says so when somebody else is there', async () => {
    const stranger = createServer((socket) => socket.end('220 smtp.example ESMTP\r\n'));
    const path = join(directory, 'smtp.sock');
    await new Promise<void>((resolve) => stranger.listen(path, resolve));
    try {
      expect((await runCtl(['--socket', path, 'status'])).exit).toBe(3);
    } finally {
      stranger.close();
    }
  });
});

describe('a failure', () => {
  it('that the daemon tells is printed with each bad field', async () => {
    const { exit, out, err } = await ctl(
      'network',
      'create',
      'x',
      '--cidr',
      '10.0.0.0/99',
      '--gateway',
      '1.2.3.4.5',
    );
    expect({ exit, out }).toEqual({ exit: 1, out: '' });
    const [first, ...fields] = err.trimEnd().split('\n');
    expect(first).toMatch(/^error: INVALID_REQUEST: /);
    expect(fields.map((field) => field.split(':')[0])).toEqual(['  cidr', '  gateway']);
  });

  it('with one bad field is one line', async () => {
    const { err } = await ctl('network', 'create', 'x', '--cidr', '10.0.0.0/99');
    expect(err).toMatch(/^error: INVALID_REQUEST: invalid request: cidr: [^\n]*\n$/);
  });

  it('of the daemon itself has another exit code than a refusal', async () => {
    api.node.failure = new AppError('INSUFFICIENT_CAPACITY');
    expect((await makeNetwork()).exit).toBe(4);
  });

  it.each([
    [['bogus']],
    [['network']],
    [['network', 'bogus']],
    [['network', 'show']],
    [['network', 'create', 'x', '--colour', 'red']],
    [['network', 'create', 'x', '--mtu', 'big']],
    [['network', 'create', 'x', '--label', 'nothing']],
    [['network', 'list', '-o', 'xml']],
    [['container', 'connect', 'front', 'web1']],
    [['container', 'connect', 'front', 'web1', '--netns-path', '/x', '--port', 'colour=red']],
    [['container', 'label', 'front', 'web1']],
    [['container', 'label', 'front', 'web1', 'neither']],
    [['flows', '--limit', '-1']],
  ])('of usage, %j, asks the daemon nothing and has exit code 2', async (args) => {
    await makeNetwork();
    api.node.failure = new Error('asked');
    const { exit, err } = await ctl(...args);
    expect(exit).toBe(2);
    expect(err).not.toBe('');
    expect(api.node.failure).toBeDefined();
  });
});

describe('--help', () => {
  it('lists every command and the exit codes', async () => {
    const { exit, out } = await runCtl(['--help']);
    expect(exit).toBe(0);
    for (const name of [
      'network',
      'container',
      'namespace',
      'policy',
      'endpoint',
      'identity',
      'flows',
      'status',
    ]) {
      expect(out).toMatch(new RegExp(`^ {2}${name} `, 'm'));
    }
    expect(out).toContain('Exit codes: 0 done');
  });

  it('of a command has the words of the schema', async () => {
    const { out } = await runCtl(['network', 'create', '--help']);
    expect(out).toMatch(/--gateway6 <value> +Gateway inside cidr6/);
  });
});

import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeferredCalls } from '../../src/cni/deferred.js';
import { CniHandler } from '../../src/cni/handler.js';
import { KeyedQueue } from '../../src/cni/keyed-queue.js';
import { CniServer } from '../../src/cni/server.js';
import { InMemoryPorts } from '../cni/in-memory-ports.js';
import { leaveSocket } from '../cni/raw-daemon.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
let root: string;
let socketPath: string;
let ports: InMemoryPorts;
let server: CniServer | undefined;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'quantum-cni-server-'));
  socketPath = join(root, 'run', 'cni.sock');
  ports = new InMemoryPorts();
  ports.addNetwork({ name: 'web', cidr: '198.18.0.0/24' });
});
afterEach(async () => {
  await server?.close();
  server = undefined;
  await rm(root, { recursive: true, force: true });
});

async function start(): Promise<CniServer> {
  const handler = new CniHandler({ ports, deferred: new DeferredCalls(socketPath, log), log });
  server = await CniServer.start({ socketPath, handler, log });
  return server;
}

interface Answer {
  status: number;
  body: { exit_code?: number; stdout?: string };
}

function send(body: string, { method = 'POST', path = '/cni' } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path, agent: false }, async (response) => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const ADD = JSON.stringify({
  env: { CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS: '/run/netns/c1' },
  stdin: JSON.stringify({ cniVersion: '1.1.0', name: 'web', type: 'quantum-cni' }),
});

describe('the socket', () => {
  it('is for its owner alone, in a directory for its owner alone', async () => {
    await start();
    expect((await stat(socketPath)).mode & 0o777).toBe(0o600);
    expect((await stat(dirname(socketPath))).mode & 0o777).toBe(0o700);
  });

  it('that is left over is replaced, one that somebody listens at is not', async () => {
    await mkdir(dirname(socketPath), { mode: 0o700 });
    leaveSocket(socketPath);
    expect((await stat(socketPath)).isSocket()).toBe(true);
    await start();
    await expect(
      CniServer.start({
        socketPath,
        handler: new CniHandler({ ports, deferred: new DeferredCalls(socketPath, log), log }),
        log,
      }),
    ).rejects.toMatchObject({ code: 'ALREADY_RUNNING' });
    expect((await send(ADD)).status).toBe(200);
  });

  it('does not take the place of a file, or stand where others can write', async () => {
    await mkdir(dirname(socketPath), { mode: 0o700 });
    await writeFile(socketPath, 'mine');
    await expect(start()).rejects.toMatchObject({ code: 'STORE_ERROR' });
    await rm(dirname(socketPath), { recursive: true });
    const umask = process.umask(0);
    await mkdir(dirname(socketPath), { mode: 0o777 });
    process.umask(umask);
    await expect(start()).rejects.toMatchObject({ code: 'STORE_ERROR' });
  });

  it('is gone after the stop, and calls that are under way get their answer', async () => {
    const running = await start();
    let open: () => void = () => undefined;
    let reached: () => void = () => undefined;
    const inside = new Promise<void>((resolve) => {
      reached = resolve;
    });
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    Object.defineProperty(ports, 'gate', {
      get: () => {
        reached();
        return gate;
      },
    });
    const answer = send(ADD);
    await inside;
    const closed = running.close();
    open();
    expect((await answer).body.exit_code).toBe(0);
    await closed;
    server = undefined;
    await expect(stat(socketPath)).rejects.toThrow('ENOENT');
  });
});

describe('a request', () => {
  it.each([
    ['another path', { path: '/networks' }, ADD, 404],
    ['another method', { method: 'PUT' }, ADD, 405],
    ['a body that is no JSON', {}, 'rubbish', 400],
    ['a body that is no call', {}, '{"env":{}}', 400],
    ['variables that are not CNI', {}, '{"env":{"PATH":"/"},"stdin":""}', 400],
    ['a body that is too large', {}, `{"env":{},"stdin":"${'x'.repeat(9 * 1024 * 1024)}"}`, 413],
  ])('with %s is refused', async (_what, options, body, status) => {
    await start();
    expect((await send(body, options)).status).toBe(status);
    expect(ports.requests).toEqual([]);
  });

  it('of each container is carried out beside the others', async () => {
    await start();
    const calls = Array.from({ length: 100 }, (_, index) => send(ADD.replace('"c1"', `"c${index}"`)));
    for (const { body } of await Promise.all(calls)) expect(body.exit_code).toBe(0);
    expect(new Set([...ports.attached.values()].map(({ endpoint }) => endpoint.ip_address)).size).toBe(100);
  });
});

describe('tasks of one key', () => {
  it('run in the order they came, also after one that failed; those of others do not wait', async () => {
    const queue = new KeyedQueue();
    const order: string[] = [];
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const first = queue.run('a', async () => {
      await gate;
      order.push('a1');
      throw new Error('a1');
    });
    const second = queue.run('a', async () => order.push('a2'));
    await queue.run('b', async () => order.push('b1'));
    open();
    await expect(first).rejects.toThrow('a1');
    await second;
    expect(order).toEqual(['b1', 'a1', 'a2']);
  });
});

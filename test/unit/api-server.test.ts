import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CallerRegistry } from '../../src/api/caller.js';
import { serveApi } from '../../src/api/server.js';
import { AppError } from '../../src/model/errors.js';
import { fakeApi, type ServedApi, servedApi } from '../support/fake-api.js';

let api: ServedApi;
let directory: string;
beforeEach(async () => {
  api = await servedApi();
  directory = mkdtempSync(join(tmpdir(), 'quantum-server-'));
});
afterEach(async () => {
  await api.close();
  rmSync(directory, { recursive: true });
});

async function ask(
  options: RequestOptions,
  body = '',
): Promise<{ status: number | undefined; text: string }> {
  const outgoing = request({ agent: false, ...options });
  outgoing.end(body);
  // Node's client complains, after the answer, that the connection was closed behind a large body.
  outgoing.on('error', () => {});
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  return { status: response.statusCode, text: await textOf(response) };
}

/** What the server says to bytes that no client library would send. */
async function raw(bytes: string, socket = connect(api.socketPath)): Promise<string> {
  socket.write(bytes);
  return textOf(socket);
}

async function failure(promise: Promise<unknown>): Promise<AppError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof AppError)) throw new Error(`not an AppError: ${error}`);
  return error;
}

describe('the listeners', () => {
  it('serve the same over TCP and over the socket', async () => {
    const body = '{"name":"front","cidr":"10.1.0.0/16"}';
    const headers = { 'content-type': 'application/json' };
    const tcp = { host: '127.0.0.1', port: api.port };
    expect((await ask({ ...tcp, method: 'POST', path: '/networks', headers }, body)).status).toBe(201);
    expect((await ask({ socketPath: api.socketPath, path: '/networks/front' })).status).toBe(200);
  });

  it('make the socket for root and its group, in a directory for root, whatever the umask', async () => {
    const before = process.umask(0);
    const open = await servedApi().finally(() => process.umask(before));
    try {
      expect(statSync(open.socketPath).mode & 0o777).toBe(0o660);
      expect(statSync(join(open.socketPath, '..')).mode & 0o777).toBe(0o700);
      expect(process.umask()).toBe(before);
    } finally {
      await open.close();
    }
  });

  it('answer a body of 2 MiB with 413 while it is still being sent', async () => {
    const headers = { 'content-type': 'application/json' };
    const options = { socketPath: api.socketPath, method: 'POST', path: '/networks', headers };
    const { status, text } = await ask(options, 'x'.repeat(2 << 20));
    expect(status).toBe(413);
    expect(JSON.parse(text).error.code).toBe('PAYLOAD_TOO_LARGE');
  });

  it('answer what is not HTTP with an error of the same form', async () => {
    const answer = await raw('hello\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    expect(JSON.parse(answer.split('\r\n\r\n')[1] ?? '').error.code).toBe('INVALID_REQUEST');
  });

  it.each([
    ['an expectation', 'GET /healthz HTTP/1.1\r\nhost: localhost\r\nexpect: a-wonder', 417],
    ['over TCP no host', 'GET /healthz HTTP/1.0', 403],
    ['over TCP no host, in HTTP/1.1 too', 'GET /healthz HTTP/1.1\r\nconnection: close', 403],
  ])('refuse %s in words', async (_, head, status) => {
    const answer = await raw(`${head}\r\n\r\n`, connect(api.port));
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(answer).toMatch(/"code":"[A-Z_]+","message":"[^"]+"/);
  });

  it('refuse a head of 20 KiB', async () => {
    expect(await raw(`GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(20 << 10)}\r\n\r\n`)).toMatch(
      /^HTTP\/1.1 431 /,
    );
  });

  it('survive a caller that leaves in the middle of its body', async () => {
    const socket = connect(api.socketPath);
    socket.write(
      'POST /networks HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{',
    );
    await once(socket, 'connect');
    socket.destroy();
    expect((await ask({ socketPath: api.socketPath, path: '/healthz' })).status).toBe(200);
    expect(api.logged.filter(({ level }) => level >= 50)).toEqual([]);
  });
});

describe('a stop', () => {
  /** A deletion of a network that is under way until `finish` is called. */
  function slowDeletion() {
    let finish = () => {};
    let reached = () => {};
    const underWay = new Promise<void>((resolve) => {
      reached = resolve;
    });
    Object.assign(api.node.networks, {
      delete: () =>
        new Promise<void>((resolve) => {
          finish = resolve;
          reached();
        }),
    });
    return { underWay, finish: () => finish() };
  }

  it('lets a request that is under way end', async () => {
    const { underWay, finish } = slowDeletion();
    const answer = ask({ socketPath: api.socketPath, method: 'DELETE', path: '/networks/x' });
    await underWay;
    const closed = api.server.close();
    finish();
    expect((await answer).status).toBe(204);
    await closed;
    expect(statSync(api.socketPath, { throwIfNoEntry: false })).toBeUndefined();
  });

  it('does not wait for what else might be asked after it', async () => {
    const { underWay, finish } = slowDeletion();
    const agent = new Agent({ keepAlive: true });
    const answer = ask({ socketPath: api.socketPath, method: 'DELETE', path: '/networks/x', agent });
    await underWay;
    const closed = api.server.close();
    finish();
    expect((await answer).status).toBe(204);
    const began = performance.now();
    await closed;
    // Five seconds and more are what a client may take for its next question.
    expect(performance.now() - began).toBeLessThan(4000);
    agent.destroy();
  });

  it('does not wait for connections on which nothing is asked', async () => {
    const socket = connect(api.socketPath);
    await once(socket, 'connect');
    socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(socket, 'data');
    const closed = once(socket, 'close');
    await api.server.close();
    await closed;
  });

  it('twice is the same stop', async () => {
    await Promise.all([api.server.close(), api.server.close()]);
    await api.server.close();
  });
});

describe('a start', () => {
  const callers = new CallerRegistry(() => 0);
  const serve = async (socketPath: string, port?: number) => {
    const other = await fakeApi();
    const listen = port === undefined ? undefined : { host: '127.0.0.1', port };
    try {
      return await serveApi(other.app, { listen, socketPath, callers });
    } catch (error) {
      await other.close();
      throw error;
    }
  };

  it('fails with PORT_IN_USE and leaves no socket when the port is taken', async () => {
    const socketPath = join(directory, 'api.sock');
    expect((await failure(serve(socketPath, api.port))).code).toBe('PORT_IN_USE');
    expect(statSync(socketPath, { throwIfNoEntry: false })).toBeUndefined();
  });

  it('fails with ALREADY_RUNNING when somebody listens at the socket, who keeps it', async () => {
    expect((await failure(serve(api.socketPath))).code).toBe('ALREADY_RUNNING');
    expect((await ask({ socketPath: api.socketPath, path: '/healthz' })).status).toBe(200);
  });

  it('replaces a socket that a dead daemon left', async () => {
    const socketPath = join(directory, 'api.sock');
    const dead = createServer();
    dead.listen(join(directory, 'other.sock'));
    await once(dead, 'listening');
    // Node removes the path that it listened at; the moved one stays, with nobody behind it.
    const { renameSync } = await import('node:fs');
    renameSync(join(directory, 'other.sock'), socketPath);
    dead.close();
    await once(dead, 'close');
    const server = await serve(socketPath);
    expect((await ask({ socketPath, path: '/healthz' })).status).toBe(200);
    await server.close();
  });

  it('refuses to replace what is no socket', async () => {
    const path = join(directory, 'api.sock');
    writeFileSync(path, 'precious');
    expect((await failure(serve(path))).message).toContain('is no socket');
  });

  it('refuses a directory that others may write to', async () => {
    const open = join(directory, 'open');
    mkdirSync(open);
    chmodSync(open, 0o777);
    expect((await failure(serve(join(open, 'api.sock')))).message).toContain('can be written by others');
  });

  it('works without TCP', async () => {
    const server = await serve(join(directory, 'api.sock'));
    expect(server.tcp).toBeUndefined();
    await server.close();
  });
});

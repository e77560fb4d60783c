import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type Caller, CallerRegistry, type SocketOwner } from '../../src/api/caller.js';
import { socketOwner } from '../../src/native/net.js';
import { type FakeApi, fakeApi, servedApi } from '../support/fake-api.js';

const apis: FakeApi[] = [];
afterEach(async () => {
  for (const api of apis.splice(0)) await api.close();
});

async function apiFor(caller: Caller): Promise<FakeApi> {
  const api = await fakeApi({ callers: { callerOf: () => caller } });
  apis.push(api);
  return api;
}

async function served(owner: SocketOwner) {
  const api = await servedApi(owner);
  apis.push(api);
  return api;
}

const ROOT: Caller = { via: 'tcp', uid: 0 };
const OTHER: Caller = { via: 'tcp', uid: 65534 };
const UNKNOWN: Caller = { via: 'tcp', uid: undefined };
const UNIX: Caller = { via: 'unix' };

describe('a caller on TCP', () => {
  it('who is root may do everything', async () => {
    const { app } = await apiFor(ROOT);
    expect((await app.inject('/networks')).statusCode).toBe(200);
  });

  const CLOSED = [
    '/networks',
    '/endpoints',
    '/flows',
    '/openapi.json',
    '/docs',
    '/docs/static/index.css',
    '/nope',
  ];

  it.each(CLOSED)('who is another user is refused at %s', async (url) => {
    const { app } = await apiFor(OTHER);
    const answer = await app.inject(url);
    expect({ status: answer.statusCode, code: answer.json().error.code }).toEqual({
      status: 403,
      code: 'FORBIDDEN',
    });
  });

  it.each(CLOSED)('who cannot be told is refused at %s', async (url) => {
    const { app } = await apiFor(UNKNOWN);
    const answer = await app.inject(url);
    expect({ status: answer.statusCode, code: answer.json().error.code }).toEqual({
      status: 401,
      code: 'UNAUTHENTICATED',
    });
  });

  it.each(['POST', 'PUT', 'PATCH', 'DELETE'] as const)(
    'who is another user changes nothing by %s',
    async (method) => {
      const { app, node } = await apiFor(OTHER);
      node.failure = new Error('the node was reached');
      const urls = [
        '/networks',
        '/networks/x',
        '/networks/x/containers/y',
        '/namespaces/x',
        '/policies',
        '/cni',
      ];
      for (const url of urls) {
        const answer = await app.inject({
          method,
          url,
          payload: { name: 'x', cidr: '10.0.0.0/8', labels: {} },
        });
        expect(answer.statusCode).toBe(403);
      }
      expect(node.failure).toBeDefined();
    },
  );

  it.each(['/healthz', '/readyz', '/metrics'])('whoever it is may read %s', async (url) => {
    for (const caller of [OTHER, UNKNOWN]) {
      const { app } = await apiFor(caller);
      expect((await app.inject(url)).statusCode).toBe(200);
      expect((await app.inject({ method: 'HEAD', url })).statusCode).toBe(200);
    }
  });
});

describe('a browser', () => {
  const LOCAL = [
    'localhost',
    'localhost:9443',
    '127.0.0.1',
    '127.0.0.1:9443',
    '127.0.0.5:9443',
    '[::1]',
    '[::1]:9443',
    'LOCALHOST:1',
  ];
  const STRANGE = [
    'evil.example',
    'evil.example:9443',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '10.0.0.1',
    '[::2]',
    'localhost:',
    'x@localhost',
  ];

  it.each(LOCAL)('is served when it asks for the host %s', async (host) => {
    const { app } = await apiFor(ROOT);
    expect((await app.inject({ url: '/networks', headers: { host } })).statusCode).toBe(200);
  });

  it.each(STRANGE)('is refused when it asks for the host %s, even where everybody may read', async (host) => {
    const { app } = await apiFor(ROOT);
    for (const url of ['/networks', '/metrics', '/healthz']) {
      expect((await app.inject({ url, headers: { host } })).statusCode).toBe(403);
    }
  });

  it.each(['http://localhost:3000', 'http://127.0.0.1', 'https://[::1]:9443'])(
    'is served for a page of %s',
    async (origin) => {
      const { app } = await apiFor(ROOT);
      expect((await app.inject({ url: '/networks', headers: { origin } })).statusCode).toBe(200);
    },
  );

  it.each([
    'https://evil.example',
    'null',
    'http://localhost.evil.example',
    'file://',
    'http://evil.example#@localhost',
  ])('is refused for a page of %s', async (origin) => {
    const { app } = await apiFor(ROOT);
    expect((await app.inject({ url: '/metrics', headers: { origin } })).statusCode).toBe(403);
  });

  it('is refused for another site that does not say which', async () => {
    const { app } = await apiFor(ROOT);
    const headers = { 'sec-fetch-site': 'cross-site' };
    expect((await app.inject({ url: '/flows', headers })).statusCode).toBe(403);
  });

  it('is never told that other sites may read', async () => {
    const { app } = await apiFor(ROOT);
    const answer = await app.inject({ url: '/networks', headers: { origin: 'http://localhost:3000' } });
    expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });
});

it('a caller on the Unix socket is known by its permissions: Host and Origin do not matter', async () => {
  const { app } = await apiFor(UNIX);
  const headers = { host: 'quantum', origin: 'https://anything.example' };
  expect((await app.inject({ url: '/networks', headers })).statusCode).toBe(200);
});

describe('who is at the other end', () => {
  it('is unknown when the kernel cannot be asked', () => {
    const failing = new CallerRegistry(() => {
      throw new Error('no netlink');
    });
    const socket = { localAddress: '127.0.0.1', localPort: 1, remoteAddress: '127.0.0.1', remotePort: 2 };
    expect(failing.callerOf(socket as Socket)).toEqual(UNKNOWN);
  });

  it('is unknown, and not the Unix socket, when the connection has no address any more', () => {
    const registry = new CallerRegistry(() => 0);
    expect(registry.callerOf({} as Socket)).toEqual(UNKNOWN);
  });

  it('is asked once for a connection, and again for the next one', async () => {
    let asked = 0;
    const api = await served(() => {
      asked += 1;
      return 0;
    });
    const socket = connect(api.port, '127.0.0.1');
    let text = '';
    socket.on('data', (data) => {
      text += String(data);
    });
    const head = 'GET /networks HTTP/1.1\r\nhost: localhost\r\n';
    socket.write(`${head}\r\n${head}connection: close\r\n\r\n`);
    await once(socket, 'close');
    expect(text.match(/200 OK/g)).toHaveLength(2);
    expect(asked).toBe(1);
    await statusOf(api.port);
    expect(asked).toBe(2);
  });

  it('is what the kernel says: root is served, another user is not', async () => {
    const { port, socketPath } = await served(socketOwner);
    expect(await statusOf(port)).toBe(200);
    expect(await curlAs(65534, [`http://127.0.0.1:${port}/networks`])).toBe('403');
    expect(await curlAs(0, [`http://127.0.0.1:${port}/networks`])).toBe('200');
    expect(await curlAs(65534, [`http://127.0.0.1:${port}/metrics`])).toBe('200');
    expect(await curlAs(0, ['--unix-socket', socketPath, 'http://localhost/networks'])).toBe('200');
    // The permissions of the socket: no connection, no status.
    expect(await curlAs(65534, ['--unix-socket', socketPath, 'http://localhost/networks'])).toBe('000');
  });

  it('does not become root by leaving before the answer', async () => {
    const { port, node } = await served(socketOwner);
    const body = '{"name":"stolen","cidr":"10.0.0.0/8"}';
    const head = `POST /networks HTTP/1.1\\r\\nhost: localhost\\r\\ncontent-type: application/json\\r\\ncontent-length: ${body.length}\\r\\n\\r\\n`;
    const script = `printf '${head}${body}' > /dev/tcp/127.0.0.1/${port}`;
    for (let round = 0; round < 20; round++) {
      const child = spawn('setpriv', ['--reuid=65534', '--clear-groups', 'bash', '-c', script]);
      await once(child, 'close');
    }
    // Whatever has arrived has been looked at when a later request is answered.
    expect(await statusOf(port)).toBe(200);
    expect(node.networks.list()).toEqual([]);
  });
});

async function statusOf(port: number, path = '/networks'): Promise<number | undefined> {
  const outgoing = request({ host: '127.0.0.1', port, path, agent: false });
  outgoing.end();
  const [response] = await once(outgoing, 'response');
  response.resume();
  await once(response, 'close');
  return response.statusCode;
}

async function curlAs(uid: number, args: string[]): Promise<string> {
  const curl = ['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', ...args];
  const child = spawn('setpriv', [`--reuid=${uid}`, '--clear-groups', ...curl]);
  let text = '';
  child.stdout.on('data', (data) => {
    text += String(data);
  });
  await once(child, 'close');
  return text;
}

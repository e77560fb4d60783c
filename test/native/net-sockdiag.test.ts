import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { NetnsHandle, openSockets, socketOwner } from '../../src/native/net.js';

/** A user that is not root and needs no entry in /etc/passwd. */
const UID = 54321;

const servers: Server[] = [];
const clients: ChildProcess[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.kill('SIGKILL');
  for (const server of servers.splice(0)) server.close();
});

/** A connection from a process of `uid` to this one: our end of it. */
async function connectionFrom(uid: number, address: string, act = ''): Promise<Socket> {
  const server = createServer({ allowHalfOpen: true });
  servers.push(server);
  server.listen(0, address.replace('::ffff:127.0.0.1', '::'));
  await once(server, 'listening');
  const target = server.address();
  if (target === null || typeof target === 'string') throw new Error('not a TCP server');
  const host = address === '::ffff:127.0.0.1' ? '127.0.0.1' : address;
  const script = `const s = require('net').connect(${target.port}, '${host}', () => { ${act} }); s.on('error', () => {}); setInterval(() => {}, 1e6)`;
  clients.push(spawn(process.execPath, ['-e', script], { uid, gid: uid, stdio: 'ignore' }));
  const [socket] = (await once(server, 'connection')) as [Socket];
  socket.on('error', () => {});
  return socket;
}

const ends = (socket: Socket) => ({
  local: { address: socket.localAddress ?? '', port: socket.localPort ?? 0 },
  remote: { address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 },
});

describe('socketOwner', () => {
  it.each([
    ['IPv4', '127.0.0.1'],
    ['IPv6', '::1'],
    ['IPv4 at a server that listens on ::', '::ffff:127.0.0.1'],
  ])('is the user at the other end: %s', async (_, address) => {
    const other = await connectionFrom(UID, address);
    expect(socketOwner(ends(other))).toBe(UID);
    const root = await connectionFrom(0, address);
    expect(socketOwner(ends(root))).toBe(0);
    other.destroy();
    root.destroy();
  });

  it('is nobody, and not root, when the other end has been closed', async () => {
    const socket = await connectionFrom(UID, '127.0.0.1', 's.end("bye")');
    socket.resume();
    await once(socket, 'end');
    // The client has shut down its side but still holds the socket open.
    expect(socketOwner(ends(socket))).toBe(UID);
    const [client] = clients;
    client?.kill('SIGKILL');
    if (client) await once(client, 'exit');
    // An orphan, for which the kernel says uid 0.
    expect(socketOwner(ends(socket))).toBeUndefined();
    socket.destroy();
  });

  it('is nobody in TIME-WAIT', async () => {
    const socket = await connectionFrom(UID, '127.0.0.1', 's.end()');
    const both = ends(socket);
    socket.resume();
    await once(socket, 'end');
    socket.end();
    await once(socket, 'close');
    const [client] = clients;
    client?.kill('SIGKILL');
    if (client) await once(client, 'exit');
    expect(socketOwner(both)).toBeUndefined();
  });

  it('is nobody where there is no connection, though somebody listens on the port', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    const target = server.address();
    const port = target !== null && typeof target === 'object' ? target.port : 0;
    const remote = { address: '127.0.0.1', port };
    expect(socketOwner({ local: { address: '127.0.0.1', port: 1 }, remote })).toBeUndefined();
  });

  it('looks in the namespace that the thread is in', async () => {
    const socket = await connectionFrom(UID, '127.0.0.1');
    using netns = NetnsHandle.createUnnamed();
    expect(netns.run(() => socketOwner(ends(socket)))).toBeUndefined();
    expect(socketOwner(ends(socket))).toBe(UID);
    socket.destroy();
  });

  it('refuses what are no addresses, ports or pairs', () => {
    const good = { address: '127.0.0.1', port: 1 };
    expect(() => socketOwner({ local: good, remote: { address: 'localhost', port: 1 } })).toThrow(RangeError);
    expect(() => socketOwner({ local: good, remote: { address: '127.0.0.1', port: 0 } })).toThrow(RangeError);
    expect(() => socketOwner({ local: good, remote: { address: '127.0.0.1', port: 65536 } })).toThrow(
      RangeError,
    );
    expect(() => socketOwner({ local: good, remote: { address: '::1', port: 1 } })).toThrow(RangeError);
    expect(() => socketOwner({ local: good } as never)).toThrow(TypeError);
  });
});

describe('openSockets', () => {
  const TCP = 6;
  const UDP = 17;
  const listening = async (host: string, ipv6Only = false) => {
    const server = createServer();
    servers.push(server);
    server.listen({ port: 0, host, ipv6Only });
    await once(server, 'listening');
    const address = server.address();
    return typeof address === 'object' ? (address?.port ?? 0) : 0;
  };

  it.each(['127.0.0.1', '0.0.0.0', '::1'])('tells of a server at %s, and whose it is', async (host) => {
    const port = await listening(host);
    const found = openSockets(TCP, port);
    expect(found).toEqual([
      { address: host, v6Only: expect.any(Boolean), uid: process.getuid?.(), inode: expect.any(Number) },
    ]);
    expect(openSockets(UDP, port)).toEqual([]);
  });

  it('says whether one at :: takes IPv4 too', async () => {
    expect(openSockets(TCP, await listening('::'))).toMatchObject([{ address: '::', v6Only: false }]);
    expect(openSockets(TCP, await listening('::', true))).toMatchObject([{ address: '::', v6Only: true }]);
  });

  it('does not tell of connections', async () => {
    const socket = await connectionFrom(UID, '127.0.0.1');
    const port = socket.remotePort ?? 0;
    expect(openSockets(TCP, port)).toEqual([]);
    socket.destroy();
  });

  it('tells of UDP sockets, and not of those that are connected', async () => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const { port } = socket.address();
    expect(openSockets(UDP, port)).toMatchObject([{ address: '127.0.0.1' }]);
    socket.connect(9, '127.0.0.1');
    await once(socket, 'connect');
    expect(openSockets(UDP, port)).toEqual([]);
    socket.close();
  });

  it('refuses what is no protocol or port', () => {
    expect(() => openSockets(132, 80)).toThrow(RangeError);
    expect(() => openSockets(TCP, 0)).toThrow(RangeError);
    expect(() => openSockets(TCP, 65536)).toThrow(RangeError);
  });
});

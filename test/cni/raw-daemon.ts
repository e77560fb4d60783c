/** Something that listens at the daemon's path and behaves as it is told, well or badly. */
import { execFileSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Outcome } from './plugin.js';

/** Listens at the path and gives each connection to the handler. */
export class RawDaemon implements AsyncDisposable {
  readonly #sockets = new Set<Socket>();
  connections = 0;

  private constructor(private readonly server: Server) {}

  static async listen(path: string, onConnection: (socket: Socket) => void): Promise<RawDaemon> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const server = createServer();
    const daemon = new RawDaemon(server);
    server.on('connection', (socket) => {
      daemon.connections += 1;
      daemon.#sockets.add(socket);
      socket.on('error', () => undefined);
      onConnection(socket);
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return daemon;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** Answers one request with a body, and tells the request's. */
export async function answerOnce(
  path: string,
  answer: object,
  call: () => Promise<Outcome>,
): Promise<{ body: string; outcome: Outcome }> {
  let received = '';
  await using _daemon = await RawDaemon.listen(path, (socket) => {
    socket.setEncoding('utf8').on('data', (text: string) => {
      received += text;
      const body = received.split('\r\n\r\n').slice(1).join('\r\n\r\n');
      const length = /content-length: (\d+)/i.exec(received)?.[1];
      if (length === undefined || Buffer.byteLength(body) < Number(length)) return;
      const text200 = JSON.stringify(answer);
      socket.end(`HTTP/1.1 200 OK\r\ncontent-length: ${Buffer.byteLength(text200)}\r\n\r\n${text200}`);
    });
  });
  const outcome = await call();
  return { body: received.slice(received.indexOf('\r\n\r\n') + 4), outcome };
}

/** Leaves a socket behind, as a daemon does that is killed. */
export function leaveSocket(path: string): void {
  const script = `process.umask(0o077);require('net').createServer().listen(process.argv[1],()=>process.kill(process.pid,'SIGKILL'))`;
  try {
    execFileSync(process.execPath, ['-e', script, path], { stdio: 'ignore' });
  } catch {
    // It killed itself.
  }
}

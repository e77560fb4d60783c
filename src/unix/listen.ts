/** A Unix socket that nobody gets at but those who are meant to, at no moment. */
import { lstat, mkdir, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { AppError } from '../model/errors.js';

export interface UnixSocketOptions {
  path: string;
  /** Of the directory, when it is made here. */
  directoryMode: number;
  /** What the mode of the socket lacks of 0777. */
  umask: number;
  /** What else may listen there. */
  rival: string;
  /** What to do about a directory that others may write to: they could put a socket of their own in our place. */
  hint: string;
}

/** Throws ALREADY_RUNNING, STORE_ERROR. A socket that nobody listens at any more is replaced. */
export async function listenUnix(server: Server, options: UnixSocketOptions): Promise<void> {
  await prepare(options);
  const { path, umask } = options;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const code = cause.code === 'EADDRINUSE' ? 'ALREADY_RUNNING' : 'STORE_ERROR';
      reject(new AppError(code, `cannot listen at ${path}`, { cause }));
    });
    // The mode is the socket's from its first moment: listen() binds before it returns.
    const before = process.umask(umask);
    try {
      server.listen(path, resolve);
    } finally {
      process.umask(before);
    }
  });
}

/** Takes no more calls, lets those that are under way end, but not for longer than this, and removes the socket. */
export async function closeServer(server: Server, patienceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  // Those on which something is asked are kept by Node.js, once it is answered, for whatever else is asked.
  server.keepAliveTimeout = 1;
  const timer = setTimeout(() => server.closeAllConnections(), patienceMs);
  await closed;
  clearTimeout(timer);
}

async function prepare({ path, directoryMode, rival, hint }: UnixSocketOptions): Promise<void> {
  const directory = dirname(path);
  try {
    await mkdir(directory, { recursive: true, mode: directoryMode });
    const { uid, mode } = await lstat(directory);
    if (uid !== process.geteuid?.() || (mode & 0o022) !== 0) {
      throw new AppError('STORE_ERROR', `${directory} can be written by others`, { hint });
    }
    const status = await lstat(path).catch(() => undefined);
    if (status === undefined) return;
    if (!status.isSocket()) throw new AppError('STORE_ERROR', `${path} exists and is no socket`);
    if (await isListening(path)) throw new AppError('ALREADY_RUNNING', `another ${rival} listens at ${path}`);
    await rm(path, { force: true });
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('STORE_ERROR', `${path} cannot be prepared`, { cause });
  }
}

/** Whether somebody accepts connections at the path; any answer but "nobody" counts as somebody. */
function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT');
    });
  });
}

/** A Unix socket that root and its group may use, and nobody else, at no moment. */
import { lstat, mkdir, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { AppError } from '../model/errors.js';

/**
 * The directory, when it is made here: for root alone. An operator who wants a group of administrators makes it
 * before, or widens it after, for that group; only a directory that others may write to is refused, because they
 * could put a socket of their own in our place.
 */
const DIRECTORY_MODE = 0o700;

/** Taken away of 0777, leaves the socket 0660. */
const SOCKET_UMASK = 0o117;

/** Throws ALREADY_RUNNING, STORE_ERROR. A socket that nobody listens at any more is replaced. */
export async function listenUnix(server: Server, path: string): Promise<void> {
  await prepare(path);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const code = cause.code === 'EADDRINUSE' ? 'ALREADY_RUNNING' : 'STORE_ERROR';
      reject(new AppError(code, `cannot listen at ${path}`, { cause }));
    });
    // The mode is the socket's from its first moment: listen() binds before it returns.
    const before = process.umask(SOCKET_UMASK);
    try {
      server.listen(path, resolve);
    } finally {
      process.umask(before);
    }
  });
}

async function prepare(path: string): Promise<void> {
  const directory = dirname(path);
  try {
    await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
    const { uid, mode } = await lstat(directory);
    if (uid !== process.geteuid?.() || (mode & 0o022) !== 0) {
      throw new AppError('STORE_ERROR', `${directory} can be written by others`, {
        hint: 'it must belong to the user of the daemon, mode 0700 or 0755',
      });
    }
    const status = await lstat(path).catch(() => undefined);
    if (status === undefined) return;
    if (!status.isSocket()) throw new AppError('STORE_ERROR', `${path} exists and is no socket`);
    if (await isListening(path)) throw new AppError('ALREADY_RUNNING', `another daemon listens at ${path}`);
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

/**
 * The listeners of the API: loopback TCP and a Unix socket, in front of one app.
 *
 * Each has a server of its own with limits of its own, so that strangers who use up the connections of the TCP
 * listener, which every local user reaches, cannot lock root out of the socket.
 */

import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { AppError, type ErrorCode, errorBody } from '../model/errors.js';
import type { ListenAddress } from '../model/settings.js';
import { closeServer, listenUnix } from '../unix/listen.js';
import type { CallerRegistry } from './caller.js';

const LIMITS = {
  /** A request that is not complete after this is cut off. */
  requestTimeout: 30_000,
  headersTimeout: 10_000,
  connectionsCheckingInterval: 5_000,
  keepAliveTimeout: 5_000,
  maxHeaderSize: 16 * 1024,
  /** The app refuses those that need one, in words. */
  requireHostHeader: false,
} as const;
const CONNECTIONS_MAX = 256;
/** A connection on which nothing moves, such as that of a reader who does not read, is given up after this. */
const IDLE_MS = 120_000;

/** How long a stop waits for requests that are under way. */
const STOP_MS = 10_000;

export interface ServeOptions {
  /** Undefined: no TCP listener. Port 0 lets the kernel choose. */
  listen: ListenAddress | undefined;
  /** `<run_dir>/api.sock`. */
  socketPath: string;
  /** The one that the app was built with. */
  callers: CallerRegistry;
}

export interface ApiServer {
  /** Where the TCP listener is, with its real port. */
  readonly tcp: AddressInfo | undefined;
  /** Takes no more requests, lets those under way end, removes the socket and closes the app. */
  close(): Promise<void>;
}

/**
 * Root and its group may use it. The directory, when it is made here, is for root alone: an operator who wants a group of
 * administrators makes it before, or widens it after, for that group.
 */
const SOCKET = {
  directoryMode: 0o700,
  umask: 0o117,
  rival: 'daemon',
  hint: 'it must belong to the user of the daemon, mode 0700 or 0755',
} as const;

/** Throws PORT_IN_USE, ALREADY_RUNNING, STORE_ERROR; then nothing listens. */
export async function serveApi(app: FastifyInstance, options: ServeOptions): Promise<ApiServer> {
  const { listen, socketPath, callers } = options;
  const unix = newServer(app);
  const tcp = newServer(app);
  unix.prependListener('connection', (socket: Socket) => callers.markUnix(socket));
  try {
    await listenUnix(unix, { path: socketPath, ...SOCKET });
    if (listen !== undefined) await listenTcp(tcp, listen);
  } catch (error) {
    await Promise.all([unix, tcp].map(stop));
    throw error;
  }
  const address = tcp.address();
  let closing: Promise<void> | undefined;
  return {
    tcp: typeof address === 'object' && address !== null ? address : undefined,
    close: () => {
      // Listeners first; closing the app then ends the streams, which would otherwise never end.
      closing ??= Promise.all([stop(unix), stop(tcp), app.close()]).then(() => undefined);
      return closing;
    },
  };
}

function newServer(app: FastifyInstance): Server {
  const server = createServer(LIMITS, (request, response) => app.routing(request, response));
  server.maxConnections = CONNECTIONS_MAX;
  server.timeout = IDLE_MS;
  server.on('error', (error) => app.log.warn({ err: error }, 'listener failed'));
  server.on('clientError', refuseMalformed);
  // Node itself would answer without a word.
  server.on('checkExpectation', (_request, response) => {
    const text = refusal('an expectation other than 100-continue is not supported');
    response.writeHead(417, { 'content-type': 'application/json', connection: 'close' }).end(text);
  });
  return server;
}

function listenTcp(server: Server, { host, port }: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const code: ErrorCode = cause.code === 'EADDRINUSE' ? 'PORT_IN_USE' : 'INVALID_SETTINGS';
      reject(new AppError(code, `cannot listen at ${host} port ${port}: ${cause.code ?? ''}`, { cause }));
    });
    server.listen({ host, port, exclusive: true }, resolve);
  });
}

async function stop(server: Server): Promise<void> {
  if (server.listening) await closeServer(server, STOP_MS);
}

const STATUS_OF: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

/** Answers what is not HTTP, before there is a request that the app could answer. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = STATUS_OF[error.code ?? ''] ?? '400 Bad Request';
  const text = refusal(status.slice(4));
  const head = `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${text.length}`;
  socket.end(`${head}\r\nconnection: close\r\n\r\n${text}`);
}

function refusal(message: string): string {
  return JSON.stringify(errorBody(new AppError('INVALID_REQUEST', message)));
}

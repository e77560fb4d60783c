/**
 * The socket on which Docker calls its plugin: HTTP/1.1, `POST /<driver>.<method>`, JSON both ways. What the calls
 * themselves find wrong is answered 200 with the reason in `Err`, as Docker shows that to its user.
 */
import { lstat, mkdir, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { AppError, asAppError, errorBody, parseWith } from '../model/errors.js';
import type { Call } from './calls.js';
import type { Log } from './identification.js';

const CONTENT_TYPE = 'application/vnd.docker.plugins.v1.2+json';
const BODY_BYTES_MAX = 1024 * 1024;
const CALLS_MAX = 256;
/** How long a stop waits for calls that are under way. */
const STOP_MS = 10_000;
/** Docker makes the directory like this. */
const DIRECTORY_MODE = 0o755;

export interface PluginServerOptions {
  socketPath: string;
  calls: ReadonlyMap<string, Call>;
  log: Log;
}

interface Answer {
  status: number;
  body: object;
}

export class PluginServer {
  readonly #server: Server;
  readonly #calls: PluginServerOptions['calls'];
  readonly #log: Log;
  #open = 0;

  /** Throws ALREADY_RUNNING when somebody listens at the path, STORE_ERROR when the path cannot be used. */
  static async start(options: PluginServerOptions): Promise<PluginServer> {
    await prepare(options.socketPath);
    const server = createServer({ requestTimeout: 30_000, headersTimeout: 10_000 });
    await listen(server, options.socketPath);
    return new PluginServer(server, options);
  }

  private constructor(server: Server, { calls, log }: PluginServerOptions) {
    this.#server = server;
    this.#calls = calls;
    this.#log = log;
    server.on('request', (request, response) => void this.#serve(request, response));
  }

  /** Takes no more calls, lets those that are under way end, and removes the socket. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => this.#server.closeAllConnections(), STOP_MS);
    await closed;
    clearTimeout(timer);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#open += 1;
    try {
      const { status, body } = await this.#answer(request);
      const text = JSON.stringify(body);
      response.writeHead(status, {
        'content-type': CONTENT_TYPE,
        'content-length': Buffer.byteLength(text),
        connection: 'close',
      });
      response.end(text);
    } catch (error) {
      this.#log.warn({ err: error }, 'a call of Docker broke off');
      response.destroy();
    } finally {
      this.#open -= 1;
    }
  }

  async #answer(request: IncomingMessage): Promise<Answer> {
    const method = request.url ?? '';
    const call = this.#calls.get(method);
    // Docker takes 404 for "this plugin does not have that method", which need not be an error.
    if (call === undefined) return failure(404, 'there is no such method');
    if (request.method !== 'POST') return failure(405, 'methods are called by POST');
    if (this.#open > CALLS_MAX) return failure(503, 'too many calls at once; try again');
    const text = await readBody(request);
    if (text === undefined) return failure(413, 'the body is too large');
    const started = performance.now();
    const fields = () => ({ method: method.slice(1), ms: Math.round(performance.now() - started) });
    let body: unknown;
    try {
      body = call.schema && parseWith(call.schema, parseJson(text));
    } catch (error) {
      this.#log.warn({ ...fields(), err: error }, 'a call of Docker is not valid');
      return failure(400, errorBody(error).error.message);
    }
    try {
      const answer = await call.run(body);
      this.#log.info(fields(), 'call of Docker');
      return { status: 200, body: answer };
    } catch (error) {
      const { code } = asAppError(error);
      this.#log.warn({ ...fields(), code, err: error }, 'a call of Docker failed');
      return failure(200, errorBody(error).error.message);
    }
  }
}

/** Network drivers say `Err`, IPAM drivers `Error`. */
function failure(status: number, message: string): Answer {
  return { status, body: { Err: message, Error: message } };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AppError('INVALID_JSON', 'the body is not valid JSON', { cause });
  }
}

/** The body as text, or undefined when it is larger than BODY_BYTES_MAX. */
function readBody(request: IncomingMessage): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      // The rest is read and dropped, or the caller would see a broken connection instead of the answer.
      if (bytes <= BODY_BYTES_MAX) chunks.push(chunk);
      else if (bytes > 8 * BODY_BYTES_MAX) request.destroy();
    });
    request.on('end', () => {
      resolve(bytes > BODY_BYTES_MAX ? undefined : Buffer.concat(chunks).toString('utf8'));
    });
    request.on('error', reject);
    request.on('close', () => reject(new Error('the connection was closed within the body')));
  });
}

/** Makes the directory, and removes a socket that nobody listens at. */
async function prepare(path: string): Promise<void> {
  const directory = dirname(path);
  try {
    await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
    const owner = await lstat(directory);
    if (owner.uid !== process.geteuid?.() || (owner.mode & 0o022) !== 0) {
      throw new AppError('STORE_ERROR', `${directory} can be written by others`, {
        hint: 'it must belong to the user of the daemon, mode 0755 or less',
      });
    }
    const status = await lstat(path).catch(() => undefined);
    if (status === undefined) return;
    if (!status.isSocket()) throw new AppError('STORE_ERROR', `${path} exists and is no socket`);
    if (await isListening(path)) throw new AppError('ALREADY_RUNNING', `another program listens at ${path}`);
    await rm(path, { force: true });
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('STORE_ERROR', `${path} cannot be used`, { cause });
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
    socket.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT');
    });
  });
}

async function listen(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const code = cause.code === 'EADDRINUSE' ? 'ALREADY_RUNNING' : 'STORE_ERROR';
      reject(new AppError(code, `cannot listen at ${path}`, { cause }));
    });
    server.once('listening', () => resolve());
    // The socket is made within this call: so it is closed to others from its first moment on.
    const umask = process.umask(0o177);
    try {
      server.listen(path);
    } finally {
      process.umask(umask);
    }
  });
}

/**
 * The socket on which Docker calls its plugin: HTTP/1.1, `POST /<driver>.<method>`, JSON both ways. What the calls
 * themselves find wrong is answered 200 with the reason in `Err`, as Docker shows that to its user.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { AppError, asAppError, errorBody, parseWith } from '../model/errors.js';
import { readBody } from '../unix/body.js';
import { closeServer, listenUnix } from '../unix/listen.js';
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
    const server = createServer({ requestTimeout: 30_000, headersTimeout: 10_000 });
    await listenUnix(server, {
      path: options.socketPath,
      directoryMode: DIRECTORY_MODE,
      umask: 0o177,
      rival: 'program',
      hint: 'it must belong to the user of the daemon, mode 0755 or less',
    });
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
    await closeServer(this.#server, STOP_MS);
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
    const text = await readBody(request, BODY_BYTES_MAX, 8 * BODY_BYTES_MAX);
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

/**
 * The socket that the plugin executable talks to: `POST /cni` with `{env, stdin}`, answered by
 * `{exit_code, stdout}`, over HTTP/1.1 on `<run_dir>/cni.sock`.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { cniCall } from '../model/cni.js';
import { readBody } from '../unix/body.js';
import { closeServer, listenUnix } from '../unix/listen.js';
import type { CniHandler } from './handler.js';
import type { Log } from './ports.js';

/** A configuration of 1 MiB, each byte of which JSON may write as six, and the environment. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;
/** More calls than this at once are turned away; runtimes try again. */
const CALLS_MAX = 256;
/** Calls that the plugin kept while the daemon did not answer are looked for this often. */
const REPLAY_INTERVAL_MS = 30_000;
/** How long a stop waits for calls that are under way. */
const STOP_MS = 10_000;

export interface CniServerOptions {
  /** Path of the socket, `<run_dir>/cni.sock`. */
  socketPath: string;
  handler: CniHandler;
  log: Log;
}

export class CniServer {
  readonly #server: Server;
  readonly #handler: CniHandler;
  readonly #log: Log;
  readonly #timer: NodeJS.Timeout;
  /** The first look for deferred calls; no other call is served before it has ended. */
  readonly #settled: Promise<void>;
  #replay: Promise<void> | undefined;
  #calls = 0;

  /**
   * Listens and serves. DEL calls that the plugin kept are carried out before any other call. To be started when
   * the ports can serve.
   * Throws ALREADY_RUNNING when another daemon listens at the path, STORE_ERROR when the path cannot be used.
   */
  static async start(options: CniServerOptions): Promise<CniServer> {
    const server = createServer({ requestTimeout: 30_000, headersTimeout: 10_000 });
    await listenUnix(server, {
      path: options.socketPath,
      directoryMode: 0o700,
      umask: 0o177,
      rival: 'daemon',
      hint: 'it must belong to the user of the daemon, mode 0700',
    });
    return new CniServer(server, options);
  }

  private constructor(server: Server, { handler, log }: CniServerOptions) {
    this.#server = server;
    this.#handler = handler;
    this.#log = log;
    this.#settled = this.#replayDeferred();
    server.on('request', (request, response) => void this.#serve(request, response));
    this.#timer = setInterval(() => void this.#replayDeferred(), REPLAY_INTERVAL_MS).unref();
  }

  /** Resolves when the DEL calls that waited at the start have been carried out. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  /** Takes no more calls, lets those that are under way end, and removes the socket. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await closeServer(this.#server, STOP_MS);
    await this.#replay;
  }

  /** One look at a time: a further one joins the one that is under way. */
  #replayDeferred(): Promise<void> {
    this.#replay ??= this.#handler
      .replayDeferred()
      .catch((error: unknown) => this.#log.error({ err: error }, 'deferred CNI calls could not be read'))
      .finally(() => {
        this.#replay = undefined;
      });
    return this.#replay;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#calls += 1;
    try {
      const { status, body } = await this.#answer(request);
      const text = JSON.stringify(body);
      response.writeHead(status, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
        connection: 'close',
      });
      response.end(text);
    } catch (error) {
      this.#log.warn({ err: error }, 'a CNI call broke off');
      response.destroy();
    } finally {
      this.#calls -= 1;
    }
  }

  async #answer(request: IncomingMessage): Promise<{ status: number; body: object }> {
    if (request.url !== '/cni') return refusal(404, 'there is only /cni here');
    if (request.method !== 'POST') return refusal(405, '/cni takes POST');
    if (this.#calls > CALLS_MAX) return refusal(503, 'too many calls at once; try again');
    const text = await readBody(request, BODY_BYTES_MAX, 2 * BODY_BYTES_MAX);
    if (text === undefined) return refusal(413, 'the body is too large');
    let call: unknown;
    try {
      call = JSON.parse(text);
    } catch {
      return refusal(400, 'the body is not JSON');
    }
    const parsed = cniCall.safeParse(call);
    if (!parsed.success) return refusal(400, 'the body must be {"env": {"CNI_…": "…"}, "stdin": "…"}');
    await this.#settled;
    return { status: 200, body: await this.#handler.handle(parsed.data) };
  }
}

function refusal(status: number, message: string): { status: number; body: object } {
  return { status, body: { error: message } };
}

/** The API, over its Unix socket or over TCP on loopback. */
import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import type { ErrorDetail } from '../model/errors.js';

export type Target = { readonly socketPath: string } | { readonly url: URL };

/** The daemon answered with an error. */
export class Refused extends Error {
  readonly status: number;
  readonly code: string;
  readonly details: readonly ErrorDetail[];

  constructor(status: number, code: string, message: string, details: readonly ErrorDetail[]) {
    super(message);
    this.name = 'Refused';
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

/** There was no answer. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

export interface Body {
  readonly type: string;
  readonly text: string;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** Longest wait for the daemon to say something, milliseconds; to connect a container takes one hundredth of that. */
const SILENCE_MS = 60_000;
/** Largest answer that is held in memory, bytes. */
const ANSWER_MAX = 256 * 1024 * 1024;

const CAUSES: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket; is quantum-api running?',
  ECONNREFUSED: 'nobody listens there; is quantum-api running?',
  EACCES: 'permission denied; root may use it',
};

export class ApiClient {
  readonly #target: Target;

  constructor(target: Target) {
    this.#target = target;
  }

  /** The body of an answer. Throws Refused, Unreachable. */
  async call(method: string, path: string, body?: Body): Promise<unknown> {
    return (await this.ask(method, path, body)).body;
  }

  /** An answer. Throws Refused, Unreachable. */
  async ask(method: string, path: string, body?: Body): Promise<Answer> {
    const answer = await this.probe(method, path, body);
    if (answer.status >= 400) throw refusedBy(answer);
    return answer;
  }

  /** The answer, whatever its status. Throws Unreachable. */
  async probe(method: string, path: string, body?: Body): Promise<Answer> {
    const response = await this.#send(method, path, body, SILENCE_MS);
    return { status: response.statusCode ?? 0, body: await this.#read(response) };
  }

  /** Each line of an answer that may go on for ever. Throws Refused, Unreachable. */
  async *lines(path: string): AsyncGenerator<string> {
    const response = await this.#send('GET', path, undefined, 0);
    const status = response.statusCode ?? 0;
    if (status >= 400) throw refusedBy({ status, body: await this.#read(response) });
    response.setEncoding('utf8');
    let rest = '';
    try {
      for await (const chunk of response as AsyncIterable<string>) {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        yield* lines.filter((line) => line !== '');
      }
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  #send(method: string, path: string, body: Body | undefined, timeout: number): Promise<IncomingMessage> {
    const { promise, resolve, reject } = withResolvers<IncomingMessage>();
    const headers =
      body === undefined ? {} : { 'content-type': body.type, 'content-length': Buffer.byteLength(body.text) };
    const outgoing = request({ ...this.#address(), method, path, headers, timeout, agent: false }, resolve);
    outgoing.once('error', (error) => reject(this.#unreachable(error)));
    outgoing.once('timeout', () => outgoing.destroy(new Error(`no answer for ${timeout / 1000} s`)));
    outgoing.end(body?.text);
    return promise;
  }

  #address(): RequestOptions {
    if ('socketPath' in this.#target) return { socketPath: this.#target.socketPath, host: 'localhost' };
    const { hostname, port } = this.#target.url;
    return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 80 : port };
  }

  async #read(response: IncomingMessage): Promise<unknown> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > ANSWER_MAX) throw new Error('the answer is too large');
        chunks.push(chunk);
      }
    } catch (error) {
      throw this.#unreachable(error);
    }
    const text = Buffer.concat(chunks).toString('utf8');
    if (text === '') return undefined;
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw new Unreachable(`${this.#name()}: the answer is not JSON; is that the API?`);
    }
  }

  #unreachable(error: unknown): Unreachable {
    if (error instanceof Unreachable) return error;
    const { code = '', message } = error as NodeJS.ErrnoException;
    return new Unreachable(`${this.#name()}: ${CAUSES[code] ?? message}`);
  }

  #name(): string {
    return 'socketPath' in this.#target ? this.#target.socketPath : this.#target.url.origin;
  }
}

function refusedBy({ status, body }: Answer): Refused {
  const error = (body as { error?: Partial<Refused> } | undefined)?.error;
  const details = Array.isArray(error?.details) ? (error.details as ErrorDetail[]) : [];
  return new Refused(status, error?.code ?? 'UNKNOWN', error?.message ?? `status ${status}`, details);
}

/** Promise.withResolvers of later runtimes. */
function withResolvers<Value>() {
  let resolve: (value: Value) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<Value>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  return { promise, resolve, reject };
}

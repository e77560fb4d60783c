/**
 * Who is at the other end of a connection, and whether that caller may do what it asks.
 *
 * Two ways lead in. The Unix socket: its file permissions have decided before the first byte. TCP on loopback: every
 * local user reaches it, so the kernel is asked who owns the other end, and only root may go on. A browser is such a
 * user's program too, steered by strangers: Host and Origin tell its requests apart.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import { AppError } from '../model/errors.js';

export type Caller =
  | { readonly via: 'unix' }
  /** `uid` is undefined when the kernel could not tell it. */
  | { readonly via: 'tcp'; readonly uid: number | undefined };

/** One end of a TCP connection. */
export interface SocketEnd {
  address: string;
  port: number;
}

/** The uid that owns the `remote` end of a loopback connection, or undefined when it cannot be told. */
export type SocketOwner = (ends: { local: SocketEnd; remote: SocketEnd }) => number | undefined;

/** As much of `CallerRegistry` as the routes need. */
export interface Callers {
  callerOf(socket: Socket): Caller;
}

const ROOT = 0;
const UNIX: Caller = { via: 'unix' };

/** Remembers for each connection who is at its other end. */
export class CallerRegistry implements Callers {
  readonly #callers = new WeakMap<Socket, Caller>();
  readonly #socketOwner: SocketOwner;

  constructor(socketOwner: SocketOwner) {
    this.#socketOwner = socketOwner;
  }

  /**
   * Says that the connection came in by the Unix socket. The listener alone may say so: a missing address does not
   * prove it, because a TCP socket that is closed has none either.
   */
  markUnix(socket: Socket): void {
    this.#callers.set(socket, UNIX);
  }

  /** The kernel is asked once for a connection, when somebody first wants to know. */
  callerOf(socket: Socket): Caller {
    const known = this.#callers.get(socket);
    if (known !== undefined) return known;
    const caller: Caller = { via: 'tcp', uid: this.#uidOf(socket) };
    this.#callers.set(socket, caller);
    return caller;
  }

  #uidOf({ localAddress, localPort, remoteAddress, remotePort }: Socket): number | undefined {
    if (localAddress === undefined || localPort === undefined) return undefined;
    if (remoteAddress === undefined || remotePort === undefined) return undefined;
    try {
      return this.#socketOwner({
        local: { address: localAddress, port: localPort },
        remote: { address: remoteAddress, port: remotePort },
      });
    } catch {
      return undefined;
    }
  }
}

/** Throws UNAUTHENTICATED or FORBIDDEN unless the caller is root, or came in by the Unix socket. */
export function requireRoot(caller: Caller): void {
  if (caller.via === 'unix') return;
  if (caller.uid === undefined) {
    throw new AppError('UNAUTHENTICATED', 'the user at the other end of the connection could not be found');
  }
  if (caller.uid !== ROOT) {
    throw new AppError('FORBIDDEN', `user ${caller.uid} may not use the API`, {
      hint: 'it serves root; /healthz, /readyz and /metrics are open to every local user',
    });
  }
}

/** Throws FORBIDDEN for what a browser sends on behalf of a page of another site, DNS rebinding included. */
export function requireLocalPage(caller: Caller, headers: IncomingHttpHeaders): void {
  if (caller.via === 'unix') return;
  const { host, origin } = headers;
  if (host === undefined || !isLocalAuthority(host)) {
    throw new AppError('FORBIDDEN', 'the Host header must be localhost or a loopback address');
  }
  const site = headers['sec-fetch-site'];
  if (!(origin === undefined || isLocalOrigin(origin)) || site === 'cross-site') {
    throw new AppError('FORBIDDEN', 'pages of other sites may not use the API');
  }
}

// Literal addresses cannot be bound to another one, so each one of the loopback range is as good as 127.0.0.1.
const LOCAL_AUTHORITY = /^(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?$/i;

function isLocalAuthority(text: string): boolean {
  return LOCAL_AUTHORITY.test(text);
}

function isLocalOrigin(origin: string): boolean {
  const match = /^https?:\/\/(.*)$/i.exec(origin);
  return match?.[1] !== undefined && isLocalAuthority(match[1]);
}

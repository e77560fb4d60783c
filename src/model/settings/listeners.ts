/** Where the daemon's APIs listen besides their socket. */
import type { z } from 'zod';
import { parseAddress } from '../address.js';
import { AppError } from '../errors.js';
import { textFor } from './values.js';

/** Host and port of a listener; an IPv6 host is without its brackets. */
export interface ListenAddress {
  host: string;
  port: number;
}

/** `127.0.0.1:9443`, `[::1]:9443`, or `none`: undefined. Throws AppError INVALID_REQUEST. */
export function listenAddress(text: string): ListenAddress | undefined {
  if (text === 'none') return undefined;
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(0|[1-9][0-9]{0,4})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65535 || host === 'localhost') {
    throw new AppError(
      'INVALID_REQUEST',
      'must be an address and a port such as 127.0.0.1:9443 or [::1]:9443, or "none"',
    );
  }
  const address = parseAddress(host);
  const isLoopback = address.family === 4 ? address.value >> 24n === 127n : address.value === 1n;
  if (!isLoopback) {
    throw new AppError(
      'INVALID_REQUEST',
      'must be a loopback address: the API has no authentication of remote callers; use the socket in run_dir, or a proxy that authenticates',
    );
  }
  return { host, port };
}

function listen(description: string, fallback: string) {
  return textFor(listenAddress, 64).default(fallback).describe(description);
}

export const listenerSettings = {
  listen: listen(
    'Loopback address and port of the REST API; `none`: only the socket in run_dir',
    '127.0.0.1:9443',
  ),
  grpc_listen: listen('Loopback address and port of the gRPC API; `none`: no gRPC', '127.0.0.1:9444'),
};

/** Two that listen at one port; port 0 is another one each time. */
export function checkListeners({
  value,
  issues,
}: z.core.ParsePayload<{ listen: string; grpc_listen: string }>): void {
  if (value.listen === value.grpc_listen && !/^none$|:0$/.test(value.listen)) {
    issues.push({ code: 'custom', path: ['grpc_listen'], message: 'must differ from listen', input: value });
  }
}

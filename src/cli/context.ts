/** What a command works with. */
import type { Readable } from 'node:stream';
import type { ApiClient, Body } from './client.js';
import type { Format } from './output.js';

export interface Context {
  readonly api: ApiClient;
  readonly format: Format;
  readonly stdin: Readable;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Writes to standard output; waits while its reader does not keep up. */
  print(text: string): Promise<void>;
  /** Writes to standard error. */
  complain(text: string): void;
  /** Exit code when nothing is thrown. */
  exitCode: number;
}

/** Gives the context once the options of the command line are known. */
export type ContextOf = () => Context;

export function json(value: unknown): Body {
  return { type: 'application/json', text: JSON.stringify(value) };
}

/** A path with its parts encoded, and a query of those values that are there. */
export function pathOf(parts: readonly string[], query: Readonly<Record<string, unknown>> = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  const search = new URLSearchParams(given.map(([key, value]): [string, string] => [key, String(value)]));
  return `/${parts.map(encodeURIComponent).join('/')}${search.size === 0 ? '' : `?${search}`}`;
}

/**
 * How a record lies in the file: the key is the JSON of [table, ...parts]; the value is a checksum of key
 * and JSON, then the JSON. The checksum finds a changed digit that the schema would not.
 */
import { sha256 } from '../model/digest.js';
import { AppError, errorDetails } from '../model/errors.js';
import type { Key, KeyPart } from './store.js';
import { type AnyTable, STORE_VERSION, TABLES } from './tables.js';

/** Hexadecimal characters of the checksum. */
const CHECKSUM_LENGTH = 16;

/** LMDB takes keys of at most 1978 bytes with its default page size. */
const KEY_MAX = 1978;

/** The record that says in which form the others are. */
export const VERSION_KEY = JSON.stringify(['version']);

export function encodeKey(table: string, key: Key): string {
  const text = JSON.stringify([table, ...key]);
  if (Buffer.byteLength(text) > KEY_MAX) {
    throw new AppError('STORE_ERROR', `a key of ${table} is longer than ${KEY_MAX} bytes`);
  }
  return text;
}

export function encodeValue(key: string, value: unknown): string {
  return encodeJson(key, JSON.stringify(value));
}

/** The same of a value's JSON. */
export function encodeJson(key: string, json: string): string {
  return checksum(key, json) + json;
}

function checksum(key: string, json: string): string {
  return sha256(`${key}\n${json}`).slice(0, CHECKSUM_LENGTH);
}

/** Whether the version record is of this version. Throws STORE_DAMAGED or STORE_INCOMPATIBLE. */
export function checkVersion(path: string, text: unknown): void {
  const version = decodeValue(path, VERSION_KEY, text);
  if (version === STORE_VERSION) return;
  throw new AppError(
    'STORE_INCOMPATIBLE',
    `${path} has records of version ${JSON.stringify(version)}, not ${STORE_VERSION}`,
    {
      hint: 'start the version of the daemon that wrote it',
    },
  );
}

/** A record as it is in memory: validated, frozen. Throws STORE_DAMAGED naming the record. */
export function decodeRecord(
  path: string,
  rawKey: unknown,
  text: unknown,
): { table: AnyTable; key: Key; value: unknown } {
  const { table, key } = decodeKey(path, rawKey);
  const stored = decodeValue(path, String(rawKey), text);
  const result = table.schema.safeParse(stored);
  if (result.success) return { table, key, value: deepFreeze(result.data) };
  const why = errorDetails(result.error).map((detail) => `${detail.path || 'record'} ${detail.message}`);
  throw damaged(path, String(rawKey), why.join(', '));
}

function decodeKey(path: string, rawKey: unknown): { table: AnyTable; key: Key } {
  const parts = typeof rawKey === 'string' ? parseJson(rawKey) : undefined;
  if (!Array.isArray(parts)) throw damaged(path, String(rawKey), 'is no key');
  const [name, ...key] = parts as unknown[];
  const table = typeof name === 'string' ? TABLES.get(name) : undefined;
  if (table === undefined) throw damaged(path, String(rawKey), 'is of no table');
  if (key.length !== table.keyParts || !key.every(isKeyPart))
    throw damaged(path, String(rawKey), 'is no key of its table');
  return { table, key };
}

function isKeyPart(part: unknown): part is KeyPart {
  return typeof part === 'string' || typeof part === 'number';
}

function decodeValue(path: string, key: string, text: unknown): unknown {
  if (typeof text !== 'string') throw damaged(path, key, 'has no text');
  const json = text.slice(CHECKSUM_LENGTH);
  if (checksum(key, json) !== text.slice(0, CHECKSUM_LENGTH))
    throw damaged(path, key, 'has a wrong checksum');
  return parseJson(json);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** STORE_DAMAGED for a record, or for the whole file when no key is given. */
export function damaged(path: string, key: string | undefined, why: string, cause?: unknown): AppError {
  const what = key === undefined ? path : `record ${key.slice(0, 200)} of ${path}`;
  return new AppError('STORE_DAMAGED', `${what}: ${why}`, {
    hint: 'restore the file from a backup, or move it away to start empty',
    cause,
  });
}

/** Freezes a value and everything in it: what is read from the store cannot be changed behind its back. */
export function deepFreeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}

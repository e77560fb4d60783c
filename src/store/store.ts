/**
 * The store: what must outlive the daemon. An interface, so that a store shared by several nodes can take
 * the embedded one's place: reads are of a snapshot in memory, writes happen in transactions whose body is
 * synchronous, has no other effect than on the store (it may be run again), and that are durable once their
 * promise resolves.
 */
import type { z } from 'zod';

export type KeyPart = string | number;
export type Key = readonly KeyPart[];

/** A table: its name in the store, how many parts its keys have, and the schema of its values. */
export interface Table<K extends Key, V> {
  readonly name: string;
  readonly keyParts: K['length'];
  readonly schema: z.ZodType<V>;
  /** Carries the type of the key; never set. */
  readonly key?: K;
}

/** The leading parts of a key: selects every record below it. */
export type Prefix<K extends Key> = K extends readonly [infer First, ...infer Rest extends Key]
  ? readonly [] | readonly [First, ...Prefix<Rest>]
  : readonly [];

export interface Reader {
  /** The value, frozen, or undefined. One step, however large the table is. */
  get<K extends Key, V>(table: Table<K, V>, key: K): V | undefined;
  /** The values whose key starts with the prefix (all without one), in the order of their keys. */
  list<K extends Key, V>(table: Table<K, V>, prefix?: Prefix<K>): V[];
  /** Of all values those that fit, in any order: what it costs is asking, and nothing is sorted. */
  where<K extends Key, V>(table: Table<K, V>, fits: (value: V) => boolean): V[];
  /** Whether list() would give any; does not depend on how many. */
  any<K extends Key, V>(table: Table<K, V>, prefix?: Prefix<K>): boolean;
}

export interface Transaction extends Reader {
  /** Creates or replaces. The value is validated and copied: throws STORE_ERROR when its schema refuses it. */
  put<K extends Key, V>(table: Table<K, V>, key: K, value: V): void;
  /** Whether there was such a record. */
  delete<K extends Key, V>(table: Table<K, V>, key: K): boolean;
}

/**
 * When a transaction is to be written: `now`, or, for what nobody waits for, `soon`: with the next one that is
 * `now`, and at the latest a moment later.
 */
export type Urgency = 'now' | 'soon';

/** What a transaction has come to, before it is on disk. */
export interface Staged<T> {
  readonly result: T;
  /** Resolves when it is; rejects with STORE_ERROR when it could not be written, and nothing of it stays then. */
  readonly durable: Promise<void>;
}

export interface Store extends Reader {
  /**
   * Runs the body alone: it sees everything written before it, and nobody sees half of it. When it throws,
   * nothing of it stays and the promise is rejected with what it threw. The promise resolves with the body's
   * result when everything that the body wrote or saw is on disk. STORE_ERROR: it could not be written, and
   * nothing of it stays; transactions that were not yet durable fail with it.
   * Readers may see a transaction's changes shortly before they are durable: do not act on the kernel from
   * such a read without a transaction of your own.
   */
  transaction<T>(body: (transaction: Transaction) => T, urgency?: Urgency): Promise<T>;
  /**
   * transaction() in two steps, for who can prepare while the disk is waited for. Resolves when the result is final
   * but for a failure of the disk. What is done then must leave no trace when the daemon ends before `durable`, and
   * nobody may be promised anything.
   */
  stage<T>(body: (transaction: Transaction) => T, urgency?: Urgency): Promise<Staged<T>>;
  /** Waits for what is under way, then releases the files. Everything after it throws STORE_ERROR. */
  close(): Promise<void>;
}

export function defineTable<K extends Key, V>(
  name: string,
  keyParts: K['length'],
  schema: z.ZodType<V>,
): Table<K, V> {
  return { name, keyParts, schema };
}

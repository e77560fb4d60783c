/**
 * The store of one node: all records in memory, and an LMDB file that each transaction is written to before
 * its promise resolves. Transactions that wait while one is being written are written together, with one
 * flush to disk.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AppError, validationError } from '../model/errors.js';
import { checkFile } from './file-check.js';
import { LmdbFile, type Write } from './lmdb-file.js';
import { OwnerLock } from './lock.js';
import { MemoryTable } from './memory.js';
import {
  checkVersion,
  damaged,
  decodeRecord,
  deepFreeze,
  encodeJson,
  encodeKey,
  encodeValue,
  VERSION_KEY,
} from './record.js';
import type { Key, Prefix, Staged, Store, Table, Transaction, Urgency } from './store.js';
import { type AnyTable, STORE_VERSION, TABLES } from './tables.js';

/** How long what is written `soon` waits for others to be written with it. */
const SOON_MS = 10;

/** A change in memory that may still have to be taken back. */
interface Change {
  readonly memory: MemoryTable;
  readonly key: Key;
  readonly before: unknown;
}

/** Changes of one transaction, and who waits for them to be on disk. */
interface Pending {
  readonly changes: readonly Change[];
  readonly writes: readonly Write[];
  readonly resolve: () => void;
  readonly reject: (error: AppError) => void;
}

export class EmbeddedStore implements Store {
  readonly #lock: OwnerLock;
  readonly #file: LmdbFile;
  readonly #memory: ReadonlyMap<string, MemoryTable>;
  #pending: Pending[] = [];
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #running = false;
  #closing: Promise<void> | undefined;

  private constructor(lock: OwnerLock, file: LmdbFile, memory: ReadonlyMap<string, MemoryTable>) {
    this.#lock = lock;
    this.#file = file;
    this.#memory = memory;
  }

  /**
   * Opens the store of a state directory, and makes it if there is none. Throws AppError ALREADY_RUNNING,
   * STORE_DAMAGED (naming file or record), STORE_INCOMPATIBLE, STORE_ERROR.
   */
  static async open(stateDir: string): Promise<EmbeddedStore> {
    try {
      mkdirSync(stateDir, { recursive: true, mode: 0o700 });
      const lock = OwnerLock.take(join(stateDir, 'owner.lock'));
      try {
        const { file, memory } = await openFile(join(stateDir, 'store.mdb'));
        return new EmbeddedStore(lock, file, memory);
      } catch (error) {
        lock.release();
        throw error;
      }
    } catch (error) {
      if (error instanceof AppError) throw error;
      throw new AppError('STORE_ERROR', `cannot open the store in ${stateDir}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  get<K extends Key, V>(table: Table<K, V>, key: K): V | undefined {
    return this.#table(table).get(key) as V | undefined;
  }

  list<K extends Key, V>(table: Table<K, V>, prefix?: Prefix<K>): V[] {
    return this.#table(table).list(prefix ?? []) as V[];
  }

  where<K extends Key, V>(table: Table<K, V>, fits: (value: V) => boolean): V[] {
    return this.#table(table).where(fits as (value: unknown) => boolean) as V[];
  }

  any<K extends Key, V>(table: Table<K, V>, prefix?: Prefix<K>): boolean {
    return this.#table(table).any(prefix ?? []);
  }

  async transaction<T>(body: (transaction: Transaction) => T, urgency: Urgency = 'now'): Promise<T> {
    const { result, durable } = await this.stage(body, urgency);
    await durable;
    return result;
  }

  async stage<T>(body: (transaction: Transaction) => T, urgency: Urgency = 'now'): Promise<Staged<T>> {
    this.#requireOpen();
    if (this.#running) throw new TypeError('a transaction must not start another one inside its body');
    const changes: Change[] = [];
    const writes: Write[] = [];
    let result: T;
    this.#running = true;
    try {
      result = this.#run(body, changes, writes);
    } catch (error) {
      undo(changes);
      throw error;
    } finally {
      this.#running = false;
    }
    // Without writes of its own it still waits for those that it may have read.
    const isWritten = writes.length === 0 && this.#pending.length === 0 && this.#writing === undefined;
    const durable = isWritten ? Promise.resolve() : this.#written(changes, writes, urgency);
    // Whoever waits for it sees a failure; until then it must not end the process.
    durable.catch(() => undefined);
    return { result, durable };
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#flush();
      while (this.#writing !== undefined) await this.#writing;
      await this.#file.close();
      this.#lock.release();
    })();
    return this.#closing;
  }

  #run<T>(body: (transaction: Transaction) => T, changes: Change[], writes: Write[]): T {
    let isOver = false;
    const table = (of: AnyTable): MemoryTable => {
      if (isOver) throw new TypeError('a transaction must not be used after its body');
      return this.#table(of);
    };
    const note = (memory: MemoryTable, key: Key) => changes.push({ memory, key, before: memory.get(key) });
    const transaction: Transaction = {
      get: (of, key) => table(of).get(key) as never,
      list: (of, prefix) => table(of).list(prefix ?? []) as never,
      where: (of, fits) => table(of).where(fits as (value: unknown) => boolean) as never,
      any: (of, prefix) => table(of).any(prefix ?? []),
      put: (of, key, value) => {
        const parsed = of.schema.safeParse(value);
        if (!parsed.success) throw validationError(parsed.error, 'STORE_ERROR', `record of ${of.name}`);
        const memory = table(of);
        const recordKey = encodeKey(of.name, key);
        const json = JSON.stringify(parsed.data);
        writes.push({ key: recordKey, value: encodeJson(recordKey, json) });
        note(memory, [...key]);
        // A copy, and what the next daemon will read.
        memory.set(key, deepFreeze(JSON.parse(json)));
      },
      delete: (of, key) => {
        const memory = table(of);
        if (memory.get(key) === undefined) return false;
        writes.push({ key: encodeKey(of.name, key), value: undefined });
        note(memory, [...key]);
        return memory.delete(key);
      },
    };
    try {
      const result = body(transaction);
      if (result instanceof Promise) {
        result.catch(() => undefined);
        throw new TypeError('the body of a transaction must be synchronous');
      }
      return result;
    } finally {
      isOver = true;
    }
  }

  #written(changes: readonly Change[], writes: readonly Write[], urgency: Urgency): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ changes, writes, resolve, reject });
      if (urgency === 'now') this.#flush();
      else this.#timer ??= setTimeout(() => this.#flush(), SOON_MS);
    });
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#pending.length > 0) this.#writing ??= this.#writePending();
  }

  async #writePending(): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      try {
        await this.#file.write(batch.flatMap(({ writes }) => writes));
      } catch (error) {
        this.#fail([...batch, ...this.#pending], error);
        continue;
      }
      for (const { resolve } of batch) resolve();
    }
    this.#writing = undefined;
  }

  /** Takes back what never got to disk, the newest first: later transactions may rest on earlier ones. */
  #fail(lost: readonly Pending[], cause: unknown): void {
    this.#pending = [];
    undo(lost.flatMap(({ changes }) => changes));
    const error = new AppError(
      'STORE_ERROR',
      `cannot write ${this.#file.path}: ${(cause as Error).message}`,
      { cause },
    );
    for (const { reject } of lost) reject(error);
  }

  #table(of: AnyTable): MemoryTable {
    this.#requireOpen();
    const memory = this.#memory.get(of.name);
    if (memory === undefined) throw new TypeError(`the store has no table ${of.name}`);
    return memory;
  }

  #requireOpen(): void {
    if (this.#closing !== undefined) throw new AppError('STORE_ERROR', 'the store is closed');
  }
}

function undo(changes: readonly Change[]): void {
  for (const { memory, key, before } of changes.toReversed()) {
    if (before === undefined) memory.delete(key);
    else memory.set(key, before);
  }
}

/** The file and every record of it. */
async function openFile(path: string): Promise<{ file: LmdbFile; memory: ReadonlyMap<string, MemoryTable> }> {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined) await createFile(path);
  else await checkFile(path, size);
  const { file, records } = await LmdbFile.open(path);
  try {
    return { file, memory: load(path, new Map(records)) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Makes an empty store under another name first: a file of the right name is never half made, so an empty one is damaged. */
async function createFile(path: string): Promise<void> {
  const draft = `${path}.new`;
  rmSync(draft, { force: true });
  const { file } = await LmdbFile.open(draft);
  await file.write([{ key: VERSION_KEY, value: encodeValue(VERSION_KEY, STORE_VERSION) }]);
  await file.close();
  rmSync(`${draft}-lock`, { force: true });
  renameSync(draft, path);
  // The name must survive a power loss as the content does; so must that of a directory just made.
  for (const directory of [dirname(path), dirname(dirname(path))]) {
    const descriptor = openSync(directory, 'r');
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  }
}

function load(path: string, records: Map<unknown, unknown>): ReadonlyMap<string, MemoryTable> {
  const memory = new Map([...TABLES.keys()].map((name) => [name, new MemoryTable()]));
  const version = records.get(VERSION_KEY);
  if (version === undefined) throw damaged(path, undefined, 'has no version');
  checkVersion(path, version);
  records.delete(VERSION_KEY);
  for (const [rawKey, text] of records) {
    const { table, key, value } = decodeRecord(path, rawKey, text);
    memory.get(table.name)?.set(key, value);
  }
  return memory;
}

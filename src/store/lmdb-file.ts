/**
 * An LMDB file of texts by text. Values are whole records; what they mean is not known here.
 *
 * The file belongs to a thread of its own, which writes with synchronous transactions: waiting for the disk
 * must not hold up the daemon, and the asynchronous transactions of lmdb-js answer a full disk with a promise
 * that nobody can handle, which ends the process. A synchronous transaction either is on disk when it returns
 * (data flushed, then the meta page written through) or throws and leaves the file as it was.
 */
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';

/** One record to write; without a value, to remove. */
export interface Write {
  readonly key: string;
  readonly value: string | undefined;
}

/** How lmdb-js is to open the file. Without overlappingSync off, a commit would return before its flush. */
export const OPEN_OPTIONS = "{ path, noSubdir: true, encoding: 'string', overlappingSync: false }";

/** Where the thread and the check of the file find lmdb-js. */
export function lmdbModule(): string {
  return createRequire(import.meta.url).resolve('lmdb');
}

const THREAD = `
const { parentPort, workerData: { lmdb, path } } = require('node:worker_threads');
const { open } = require(lmdb);
const database = open(${OPEN_OPTIONS});
function write(writes) {
  database.transactionSync(() => {
    for (const { key, value } of writes) {
      if (value === undefined) database.remove(key);
      else database.put(key, value);
    }
  });
}
parentPort.on('message', async (writes) => {
  if (writes === null) {
    await database.close();
    parentPort.close();
    return;
  }
  try {
    write(writes);
    parentPort.postMessage({});
  } catch (error) {
    parentPort.postMessage({ error: error.message });
  }
});
parentPort.postMessage({ records: [...database.getRange()].map(({ key, value }) => [key, value]) });
`;

/** What the thread says: the records at first, then whether each write was done. */
interface Answer {
  records?: [key: unknown, text: unknown][];
  error?: string;
}

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

export class LmdbFile {
  readonly path: string;
  readonly #thread: Worker;
  readonly #waiting: Waiting[] = [];
  readonly #ended: Promise<void>;
  #failure: Error | undefined;

  private constructor(path: string) {
    this.path = path;
    this.#thread = new Worker(THREAD, {
      eval: true,
      execArgv: [],
      workerData: { lmdb: lmdbModule(), path },
      resourceLimits: { maxYoungGenerationSizeMb: 2 },
    });
    this.#thread.on('message', (answer: Answer) => this.#waiting.shift()?.resolve(answer));
    this.#thread.on('error', (error) => this.#end(error instanceof Error ? error : new Error(String(error))));
    this.#ended = new Promise((resolve) => {
      this.#thread.on('exit', () => {
        this.#end(new Error('the thread of the store has ended'));
        resolve();
      });
    });
  }

  /** Opens the file, making it if there is none; the records are those that it has. */
  static async open(path: string): Promise<{ file: LmdbFile; records: [key: unknown, text: unknown][] }> {
    const file = new LmdbFile(path);
    const { records } = await file.#answer();
    return { file, records: records ?? [] };
  }

  /** All or none. Resolves when they are on disk; rejects when they are not, and the file is as before. */
  async write(writes: readonly Write[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#thread.postMessage(writes);
    const { error } = await this.#answer();
    if (error !== undefined) throw new Error(error);
  }

  async close(): Promise<void> {
    this.#thread.ref();
    this.#thread.postMessage(null);
    await this.#ended;
  }

  async #answer(): Promise<Answer> {
    // Only while something is under way does the thread keep the process alive.
    this.#thread.ref();
    try {
      return await new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    } finally {
      if (this.#waiting.length === 0) this.#thread.unref();
    }
  }

  #end(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }
}

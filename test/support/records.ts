/** What a daemon has written to its store, read from the file beside the daemon, which may run or not. */
import { join } from 'node:path';
import { open } from 'lmdb';
import { MemoryTable } from '../../src/store/memory.js';
import { decodeRecord, VERSION_KEY } from '../../src/store/record.js';
import type { Reader } from '../../src/store/store.js';
import { TABLES } from '../../src/store/tables.js';
import type { Daemon } from './daemon.js';

export async function readRecords(daemon: Daemon): Promise<Reader> {
  const path = join(daemon.path('state'), 'store.mdb');
  const memory = new Map([...TABLES.keys()].map((name) => [name, new MemoryTable()]));
  const table = ({ name }: { name: string }) => memory.get(name) ?? new MemoryTable();
  const database = open<string, string>({ path, noSubdir: true, encoding: 'string', readOnly: true });
  try {
    for (const { key, value } of database.getRange()) {
      if (key === VERSION_KEY) continue;
      const record = decodeRecord(path, key, value);
      table(record.table).set(record.key, record.value);
    }
  } finally {
    await database.close();
  }
  return {
    get: (of, key) => table(of).get(key) as never,
    list: (of, prefix) => table(of).list(prefix ?? []) as never,
    where: (of, fits) => table(of).where(fits as (value: unknown) => boolean) as never,
    any: (of, prefix) => table(of).any(prefix ?? []),
  };
}

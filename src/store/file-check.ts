/**
 * Whether LMDB can read a file at all. LMDB trusts its pages: on a damaged one it may crash the process or
 * walk in circles. So another process reads the whole file first; what happens to it tells.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lmdbModule, OPEN_OPTIONS } from './lmdb-file.js';
import { damaged } from './record.js';

/** Far more than reading takes: 10 s, and a second for each 10 MB. */
const TIMEOUT_BASE_MS = 10_000;
const TIMEOUT_MS_PER_BYTE = 1e-4;

/** Reads every record, then makes a change and takes it back, which reads the list of free pages. */
const READ_ALL = `
const [lmdb, path] = process.argv.slice(1);
const { open, ABORT } = require(lmdb);
const database = open(${OPEN_OPTIONS});
for (const { key, value } of database.getRange()) if (typeof value !== 'string') throw new Error('no text at ' + String(key));
database.transactionSync(() => { database.put('check', 'check'); return ABORT; });
database.close();
`;

const STDERR_MAX = 4096;

/** Throws STORE_DAMAGED when reading the file fails, crashes or does not end. `size` in bytes. */
export async function checkFile(path: string, size: number): Promise<void> {
  const child = spawn(process.execPath, ['-e', READ_ALL, lmdbModule(), path], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {},
    timeout: TIMEOUT_BASE_MS + Math.ceil(size * TIMEOUT_MS_PER_BYTE),
    killSignal: 'SIGKILL',
  });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (output.length < STDERR_MAX) output += text;
  });
  const [status, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (status === 0) return;
  if (signal !== null) throw damaged(path, undefined, `reading it ends with ${signal}`);
  throw damaged(path, undefined, /Error: (.*)/.exec(output)?.[1] ?? `reading it ends with status ${status}`);
}

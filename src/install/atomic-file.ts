/** Files that other programs read while we write them: they see the old content or the new one, never a part. */
import { randomBytes } from 'node:crypto';
import { link, lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** No suffix that a container runtime looks for: libcni reads .conf, .conflist and .json. */
const TEMPORARY = /^\.quantum-[0-9a-f]{16}\.tmp$/;
/** Writing takes milliseconds: a temporary file of this age is one whose writer was killed. */
const ABANDONED_MS = 60_000;

/**
 * Writes a file durably: a temporary file beside it, fsync, then its name.
 *
 * @param mode permissions, whatever the umask is
 * @param existing what to do with a file that has the name: `replace` it, or `keep` it and throw EEXIST
 */
export async function writeFileAtomically(
  path: string,
  content: string | Uint8Array,
  mode: number,
  existing: 'replace' | 'keep',
): Promise<void> {
  const directory = dirname(path);
  const temporary = join(directory, `.quantum-${randomBytes(8).toString('hex')}.tmp`);
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(content);
      await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
    if (existing === 'replace') await rename(temporary, path);
    else await link(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
  await syncDirectory(directory);
}

/** Makes the names in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Removes the temporary files of writers that were killed. */
export async function removeAbandoned(directory: string): Promise<void> {
  for (const name of await readdir(directory).catch(() => [])) {
    if (!TEMPORARY.test(name)) continue;
    const path = join(directory, name);
    const status = await lstat(path).catch(() => undefined);
    if (status !== undefined && Date.now() - status.mtimeMs > ABANDONED_MS) await rm(path, { force: true });
  }
}

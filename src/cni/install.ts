/** Puts the plugin where container runtimes look for it. */
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CNI_TYPES } from '../model/cni.js';
import { AppError } from '../model/errors.js';
import { removeAbandoned, writeFileAtomically } from './atomic-file.js';

/** The executable as `npm run build` makes it. */
export const PLUGIN_PATH = fileURLToPath(new URL('../../native/build/quantum-cni', import.meta.url));

/**
 * Copies the executable into `directory` (setting `cni_bin_dir`) under each `type` that a configuration may name. A copy that is the same
 * already is left alone; a runtime that is executing an older one is not disturbed.
 * Throws STORE_ERROR when the executable is not built or cannot be copied.
 *
 * @returns the paths that were written
 */
export async function installPlugin(directory: string, source: string = PLUGIN_PATH): Promise<string[]> {
  const executable = await readExecutable(source);
  const written: string[] = [];
  await removeAbandoned(directory);
  for (const name of CNI_TYPES) {
    const path = join(directory, name);
    if (await isInstalled(path, executable)) continue;
    try {
      await mkdir(directory, { recursive: true, mode: 0o755 });
      await writeFileAtomically(path, executable, 0o755, 'replace');
    } catch (cause) {
      throw new AppError('STORE_ERROR', `the CNI plugin cannot be installed as ${path}`, { cause });
    }
    written.push(path);
  }
  return written;
}

async function readExecutable(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new AppError('STORE_ERROR', `the CNI plugin ${path} cannot be read`, {
      hint: 'build it with `npm run build`',
      cause,
    });
  }
}

async function isInstalled(path: string, executable: Buffer): Promise<boolean> {
  try {
    const status = await stat(path);
    if (!status.isFile() || status.size !== executable.length || (status.mode & 0o777) !== 0o755)
      return false;
    return executable.equals(await readFile(path));
  } catch {
    return false;
  }
}

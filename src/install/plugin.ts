/** Puts the plugin where container runtimes look for it. */
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CNI_TYPES } from '../model/cni.js';
import { AppError } from '../model/errors.js';
import { removeAbandoned, syncDirectory, writeFileAtomically } from './atomic-file.js';

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

/** What every version of the executable contains, and hardly anything else. */
const MARK = 'QUANTUM_CNI_SOCKET';

/** How the executable stands in a directory, under one of its names. */
export interface InstalledPlugin {
  path: string;
  /** `other`: another version of ours; `foreign`: somebody else's file. */
  state: 'current' | 'other' | 'foreign' | 'missing';
}

/** What is in the directory. Throws STORE_ERROR when the executable is not built. */
export async function inspectPlugin(
  directory: string,
  source: string = PLUGIN_PATH,
): Promise<InstalledPlugin[]> {
  const executable = await readExecutable(source);
  return await Promise.all(
    CNI_TYPES.map(async (name): Promise<InstalledPlugin> => {
      const path = join(directory, name);
      if (await isInstalled(path, executable)) return { path, state: 'current' };
      const found = await readFile(path).catch(() => undefined);
      if (found === undefined) return { path, state: 'missing' };
      return { path, state: found.includes(MARK) ? 'other' : 'foreign' };
    }),
  );
}

/**
 * Removes the executable, of whatever version, from the directory; files of that name that are somebody else's stay.
 * Throws STORE_ERROR.
 *
 * @returns the paths that were removed
 */
export async function uninstallPlugin(directory: string, source: string = PLUGIN_PATH): Promise<string[]> {
  const removed: string[] = [];
  for (const { path, state } of await inspectPlugin(directory, source)) {
    if (state === 'missing' || state === 'foreign') continue;
    try {
      await rm(path);
      await syncDirectory(directory);
    } catch (cause) {
      throw new AppError('STORE_ERROR', `${path} cannot be removed`, { cause });
    }
    removed.push(path);
  }
  return removed;
}

/** A file among the network configurations, as far as it can be read. */
export interface ConfigurationFile {
  file: string;
  /** Undefined: it is no configuration. */
  network?: { name: string; types: string[]; isOurs: boolean };
}

/** Files larger than this are none. */
const CONFIGURATION_BYTES_MAX = 1024 * 1024;

/** The network configurations of a directory, in the order in which runtimes read them. */
export async function listConfigurations(directory: string): Promise<ConfigurationFile[]> {
  const names = await readdir(directory).catch(() => []);
  return await Promise.all(
    names
      .filter((name) => /\.(conf|conflist|json)$/.test(name))
      .sort()
      .map(async (file) => {
        const network = await readConfiguration(join(directory, file));
        return network === undefined ? { file } : { file, network };
      }),
  );
}

async function readConfiguration(path: string): Promise<ConfigurationFile['network']> {
  try {
    if ((await stat(path)).size > CONFIGURATION_BYTES_MAX) return undefined;
    const value = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
    const plugins = (Array.isArray(value.plugins) ? value.plugins : [value]) as Record<string, unknown>[];
    const types = plugins.map(({ type }) => String(type));
    const isOurs = types.some((type) => CNI_TYPES.some((own) => own === type));
    return { name: String(value.name), types, isOurs };
  } catch {
    return undefined;
  }
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

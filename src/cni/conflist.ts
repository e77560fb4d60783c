/**
 * The CNI network configuration list of each network, by which container runtimes find the network:
 * `<cni_conf_dir>/<prefix><network>.conflist`. The directory belongs to everybody, so only files that carry our mark
 * are ever replaced or removed.
 */
import { constants } from 'node:fs';
import { access, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { removeAbandoned, syncDirectory, writeFileAtomically } from '../install/atomic-file.js';
import type { CniVersion } from '../model/cni.js';
import { AppError, asAppError } from '../model/errors.js';
import { dnsLabel, labelOf } from '../model/names.js';
import type { Network } from '../model/network.js';
import { MADE_BY_CNI, MADE_BY_LABEL } from './network.js';
import { ANNOTATIONS_CAPABILITY } from './runtime-config.js';

/** Executable that the configuration lists name. */
export const PLUGIN_TYPE = 'quantum-cni';

/** What a runtime may ask for one container: of what it is not told here, it drops what was asked for. */
const CAPABILITIES = {
  ips: true,
  mac: true,
  ipRanges: true,
  portMappings: true,
  dns: true,
  bandwidth: true,
  [ANNOTATIONS_CAPABILITY]: true,
};

/** Larger files are not ours. */
const CONFLIST_BYTES_MAX = 64 * 1024;

const SUFFIX = '.conflist';

/** The mark: libcni does not look at keys of a list that it does not know. Whoever takes it out owns the file. */
const marked = z.object({
  name: z.string(),
  quantum: z.object({ managed: z.literal(true) }),
  plugins: z.tuple([z.object({ type: z.literal(PLUGIN_TYPE), socket: z.string() })], z.unknown()),
});

/** Where the lists of one daemon are, and what they lead to. */
export interface ConflistPlace {
  /** Setting `cni_conf_dir`. */
  directory: string;
  /** Path of the daemon's cni.sock. */
  socket: string;
  /** Setting `cni_conf_prefix`. */
  prefix: string;
  /** Setting `cni_version`. */
  version: CniVersion;
}

/** A network, as far as its list is concerned. */
export type ListedNetwork = Pick<Network, 'name' | 'labels'>;

/** Whether a network gets a list. Those that a CNI configuration made have that configuration already. */
export function hasConflist({ labels }: Pick<Network, 'labels'>): boolean {
  return labelOf(labels, MADE_BY_LABEL) !== MADE_BY_CNI;
}

/** Text of a network's list. */
export function conflistText(
  network: string,
  { socket, version }: Pick<ConflistPlace, 'socket' | 'version'>,
): string {
  const list = {
    cniVersion: version,
    name: network,
    quantum: { managed: true },
    plugins: [{ type: PLUGIN_TYPE, socket, capabilities: CAPABILITIES }],
  };
  return `${JSON.stringify(list, null, 2)}\n`;
}

/**
 * Writes the list of a network that gets one, or leaves it when it is right already.
 * Throws NETWORK_EXISTS when a file of that name is not ours, STORE_ERROR when it cannot be written.
 */
export async function writeConflist(place: ConflistPlace, network: ListedNetwork): Promise<void> {
  if (!hasConflist(network)) return;
  const path = conflistPath(place, network.name);
  const text = conflistText(network.name, place);
  await storing(path, async () => {
    await mkdir(place.directory, { recursive: true, mode: 0o755 });
    const found = await readConflist(path);
    if (found.kind !== 'none' && !(await isOurs(place, found))) throw foreign(path);
    if (found.kind === 'marked' && found.text === text) return;
    try {
      await writeFileAtomically(path, text, 0o644, found.kind === 'none' ? 'keep' : 'replace');
    } catch (error) {
      if (codeOf(error) === 'EEXIST') throw foreign(path);
      throw error;
    }
  });
}

/** Removes a network's list. False: there is none, or the file of that name is not ours. */
export async function removeConflist(place: ConflistPlace, network: string): Promise<boolean> {
  const path = conflistPath(place, network);
  return await storing(path, async () => {
    const found = await readConflist(path);
    if (found.kind === 'none' || !(await isOurs(place, found))) return false;
    await removeDurably(place, path);
    return true;
  });
}

async function removeDurably(place: ConflistPlace, path: string): Promise<void> {
  await rm(path, { force: true });
  await syncDirectory(place.directory);
}

/**
 * Makes the lists match the networks: writes those that are missing or different, removes those of this
 * daemon (same socket) whose network is gone. Goes on after an error; the errors are the answer.
 */
export async function syncConflists(
  place: ConflistPlace,
  networks: Iterable<ListedNetwork>,
): Promise<AppError[]> {
  const errors: AppError[] = [];
  const listed = [...networks].filter(hasConflist);
  const wanted = new Set(listed.map(({ name }) => conflistPath(place, name)));
  const attempt = async (task: () => Promise<unknown>) => {
    try {
      await task();
    } catch (error) {
      errors.push(asAppError(error));
    }
  };
  for (const network of listed) await attempt(() => writeConflist(place, network));
  await attempt(() => storing(place.directory, () => removeAbandoned(place.directory)));
  await attempt(async () => {
    for (const path of await conflistsIn(place.directory)) {
      if (wanted.has(path)) continue;
      // Of a network that is gone, or under the name that another prefix gave it.
      const found = await readConflist(path);
      if (found.kind === 'marked' && found.socket === place.socket) {
        await storing(path, () => removeDurably(place, path));
      }
    }
  });
  return errors;
}

/** Files that may be ours. */
async function conflistsIn(directory: string): Promise<string[]> {
  const names = await storing(directory, async () => {
    try {
      return await readdir(directory);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
  });
  return names.filter((name) => name.endsWith(SUFFIX)).map((name) => join(directory, name));
}

/** The name is checked here again, whatever the caller did, because it becomes part of a path. */
function conflistPath({ directory, prefix }: ConflistPlace, network: string): string {
  if (!dnsLabel.safeParse(network).success) {
    throw new AppError('INVALID_REQUEST', `${JSON.stringify(network.slice(0, 64))} is no name of a network`);
  }
  return join(directory, `${prefix}${network}${SUFFIX}`);
}

type Found = { kind: 'none' } | { kind: 'foreign' } | { kind: 'marked'; text: string; socket: string };

/** What stands at the path. Links are not followed: one of that name is not ours. */
async function readConflist(path: string): Promise<Found> {
  let text: string;
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const status = await file.stat();
      if (!status.isFile() || status.size > CONFLIST_BYTES_MAX) return { kind: 'foreign' };
      text = await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return { kind: 'none' };
    if (codeOf(error) === 'ELOOP') return { kind: 'foreign' };
    throw error;
  }
  try {
    const socket = marked.parse(JSON.parse(text)).plugins[0].socket;
    return { kind: 'marked', text, socket };
  } catch {
    return { kind: 'foreign' };
  }
}

/**
 * A marked file is ours when it leads to our socket, or to one that is no longer there (the daemon's run_dir
 * was moved): else it is that of another daemon on the same machine.
 */
async function isOurs(place: ConflistPlace, found: Found): Promise<boolean> {
  if (found.kind !== 'marked') return false;
  if (found.socket === place.socket) return true;
  try {
    await access(found.socket);
    return false;
  } catch {
    return true;
  }
}

function foreign(path: string): AppError {
  return new AppError('NETWORK_EXISTS', `${path} exists and does not belong to this daemon`, {
    hint: 'remove or rename the file, or give the network another name',
  });
}

async function storing<T>(path: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError('STORE_ERROR', `${path}: ${codeOf(error) ?? 'failed'}`, { cause: error });
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

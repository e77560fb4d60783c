/**
 * DEL calls that the plugin kept while no daemon listened: one file per attachment in `cni-deferred` beside
 * the socket, named `<container id>@<interface>@<network>.json`, holding the request as the socket takes it.
 * native/cni/spool.cc writes them.
 */
import { constants, lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { type FileHandle, lstat, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type CniCall, cniCall } from '../model/cni.js';
import type { Log } from './ports.js';

const DIRECTORY = 'cni-deferred';
const NAME = /^([^@/]+)@([^/]+)@([^@/]+)\.json$/;
/** As many as the plugin writes at most. */
const CALLS_MAX = 4096;
const CALL_BYTES_MAX = 16 * 1024;
/** A temporary file of this age has no writer any more. */
const ABANDONED_MS = 600_000;

export interface DeferredCall {
  /** Name of the file. */
  name: string;
  container_id: string;
  interface_name: string;
  network: string;
}

export class DeferredCalls {
  readonly #directory: string;
  readonly #log: Log;

  constructor(socketPath: string, log: Log) {
    this.#directory = join(dirname(socketPath), DIRECTORY);
    this.#log = log;
  }

  /** The calls that wait, or those of one container's interface. Removes what no writer finished. */
  async list(of?: { container_id: string; interface_name: string }): Promise<DeferredCall[]> {
    const calls: DeferredCall[] = [];
    for (const name of this.#names()) {
      const [, container_id, interface_name, network] = NAME.exec(name) ?? [];
      if (container_id === undefined || interface_name === undefined || network === undefined) {
        await this.#removeAbandoned(name);
        continue;
      }
      if (of !== undefined && (of.container_id !== container_id || of.interface_name !== interface_name))
        continue;
      if (calls.length === CALLS_MAX) break;
      calls.push({ name, container_id, interface_name, network });
    }
    return calls;
  }

  /** The request of a call. Undefined when it is gone by now, or is none: then its file is removed. */
  async read(call: DeferredCall): Promise<CniCall | undefined> {
    const text = await this.#readFile(call.name);
    if (text === undefined) return undefined;
    const request = parseCall(text);
    const { CNI_COMMAND, CNI_CONTAINERID, CNI_IFNAME } = request?.env ?? {};
    if (
      CNI_COMMAND === 'DEL' &&
      CNI_CONTAINERID === call.container_id &&
      CNI_IFNAME === call.interface_name
    ) {
      return request;
    }
    this.#log.warn({ file: call.name }, 'removed a deferred CNI call that cannot be read');
    await this.remove(call);
    return undefined;
  }

  async remove({ name }: Pick<DeferredCall, 'name'>): Promise<void> {
    await rm(join(this.#directory, name), { force: true });
  }

  /**
   * The names in the directory, which is made when it is not there. None when the directory is open to
   * others: what stands in it would be carried out with our rights.
   *
   * Every ADD and DEL asks. The directory is in memory and all but always empty, so that handing it to another thread
   * and waiting for that one's turn takes longer than looking.
   */
  #names(): string[] {
    const status = lstatSync(this.#directory, { throwIfNoEntry: false });
    if (status === undefined) {
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
      return [];
    }
    if (!status.isDirectory() || status.uid !== process.geteuid?.() || (status.mode & 0o077) !== 0) {
      this.#log.warn(
        { path: this.#directory },
        'deferred CNI calls are not read: the directory is not ours alone',
      );
      return [];
    }
    return readdirSync(this.#directory);
  }

  async #removeAbandoned(name: string): Promise<void> {
    try {
      const { mtimeMs } = await lstat(join(this.#directory, name));
      if (Date.now() - mtimeMs > ABANDONED_MS) await this.remove({ name });
    } catch {
      // Its writer has finished or removed it.
    }
  }

  async #readFile(name: string): Promise<string | undefined> {
    let file: FileHandle;
    try {
      const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      file = await open(join(this.#directory, name), flags);
    } catch (error) {
      return error instanceof Error && 'code' in error && error.code === 'ENOENT' ? undefined : '';
    }
    try {
      const status = await file.stat();
      return status.isFile() && status.size <= CALL_BYTES_MAX ? await file.readFile('utf8') : '';
    } finally {
      await file.close();
    }
  }
}

function parseCall(text: string): CniCall | undefined {
  try {
    return cniCall.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Namespaces with a name, in the form that iproute2 established: a mount below /run/netns. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { NetnsHandle, shareNetnsDirectory } from '../native/net.js';

/** Where `ip netns` keeps its names. */
export const NETNS_DIRECTORY = '/run/netns';

/** The longest file name of Linux, in bytes. */
const NAME_MAX = 255;

/** @throws RangeError when the name cannot be that of a file. */
export function namedPath(name: string, directory: string = NETNS_DIRECTORY): string {
  const valid = name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name);
  if (!valid || Buffer.byteLength(name) > NAME_MAX) {
    throw new RangeError(`namespace name ${JSON.stringify(name.slice(0, 80))} is no file name`);
  }
  return join(directory, name);
}

/** Creates a namespace and its name; neither stays when that fails. @throws KernelError EEXIST when it is taken. */
export function createNamed(name: string, directory: string = NETNS_DIRECTORY): NetnsHandle {
  const path = namedPath(name, directory);
  shareNetnsDirectory(directory);
  const handle = NetnsHandle.createUnnamed();
  try {
    handle.pinTo(path);
    return handle;
  } catch (error) {
    handle.close();
    throw error;
  }
}

/**
 * Takes the name away. The namespace itself goes with the last process, descriptor or socket that is in it.
 * @throws KernelError ENOENT when there is none; EINVAL when the file is something else.
 */
export function deleteNamed(name: string, directory: string = NETNS_DIRECTORY): void {
  NetnsHandle.unpin(namedPath(name, directory));
}

/** All names, sorted; also those of `ip netns`. */
export function listNamed(directory: string = NETNS_DIRECTORY): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

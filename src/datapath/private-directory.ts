import { lstatSync } from 'node:fs';
import { AppError } from '../model/errors.js';

const OTHERS_WRITE = 0o022;

/**
 * Throws INVALID_SETTINGS unless the directory is root's and nobody else can write to it: whoever can remove a pin
 * takes the programs off a container's interface. A BPF file system is writable by everyone where it was mounted
 * without a mode, so somebody may have made the directory before us.
 */
export function requirePrivate(directory: string): void {
  const { uid, mode } = lstatSync(directory);
  if (uid === 0 && (mode & OTHERS_WRITE) === 0) return;
  throw new AppError(
    'INVALID_SETTINGS',
    `${directory} is not root's alone (owner ${uid}, mode ${(mode & 0o7777).toString(8)})`,
    {
      hint: 'remove it, or choose another bpffs_dir',
    },
  );
}

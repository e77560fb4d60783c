import { AppError } from '../../model/errors.js';
import { KernelError } from '../../native/errors.js';
import { NetnsHandle } from '../../native/net.js';

/** The namespace behind a path, which must be a container's: NETNS_INVALID. */
export function openContainerNetns(path: string): NetnsHandle {
  let netns: NetnsHandle;
  try {
    netns = NetnsHandle.open(path);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    throw new AppError(
      'NETNS_INVALID',
      `${path} is not a network namespace that can be opened: ${error.message}`,
      {
        cause: error,
        details: [{ path: 'netns_path', message: error.message }],
      },
    );
  }
  using own = NetnsHandle.current();
  if (own.inode !== netns.inode || own.device !== netns.device) return netns;
  netns.close();
  throw new AppError('NETNS_INVALID', `${path} is the network namespace of the node itself`, {
    details: [{ path: 'netns_path', message: 'is the network namespace of the node itself' }],
  });
}

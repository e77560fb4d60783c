import { nativeFunctions } from './addon.js';

interface Functions {
  sendDatagram(path: string, text: string): void;
}

/**
 * Tells the service manager, if there is one, how the daemon is: `READY=1`, `STOPPING=1`, `STATUS=…` (sd_notify(3)).
 * `socket` is NOTIFY_SOCKET of the environment. A manager that does not listen is no reason to stop.
 */
export function notifyServiceManager(socket: string | undefined, text: string): void {
  if (socket === undefined || socket === '') return;
  try {
    nativeFunctions<Functions>().sendDatagram(socket, text);
  } catch {
    // It is gone, or has no room: it will ask by its own timeouts.
  }
}

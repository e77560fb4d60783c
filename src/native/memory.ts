import { nativeFunctions } from './addon.js';

interface Functions {
  returnFreedMemory(): void;
}

/**
 * From now on memory that native code frees goes back to the system, instead of staying with the process for later: of
 * the loading of programs alone, that is tens of megabytes. For the whole process.
 */
export function returnFreedMemory(): void {
  nativeFunctions<Functions>().returnFreedMemory();
}

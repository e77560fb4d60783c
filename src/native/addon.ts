/** Loads the addon and gives it the error classes. Types of its functions stand next to their users. */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { failureToError, type NativeFailure } from './errors.js';

interface Addon {
  setErrorFactory(factory: (failure: NativeFailure) => Error): void;
}

/** The same relative place from src/native and from dist/native. */
const ADDON_PATH = fileURLToPath(new URL('../../native/build/quantum.node', import.meta.url));

const addon = createRequire(import.meta.url)(ADDON_PATH) as Addon;
addon.setErrorFactory(failureToError);

/**
 * The addon's functions, seen through the interface that the caller declares for its half. Arguments are
 * checked in C++ nevertheless. `Handle` arguments are opaque.
 */
export function nativeFunctions<Functions extends object>(): Functions {
  return addon as unknown as Functions;
}

declare const handleKind: unique symbol;
/** An opaque native object of one kind. Never leaves src/native. */
export interface Handle<Kind extends string> {
  readonly [handleKind]: Kind;
}

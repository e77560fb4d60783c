import { type AnyHandle, native } from './functions.js';

/**
 * Owner of one native handle. The native side throws ClosedError when a closed handle is used. What is not
 * closed is closed by the garbage collector or at the end of the thread, whichever comes first.
 */
export abstract class Closable<H extends AnyHandle> implements Disposable {
  protected readonly handle: H;
  #closed = false;

  protected constructor(handle: H) {
    this.handle = handle;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Idempotent. Calls that are under way on worker threads finish first, on the resource that they hold. */
  close(): void {
    this.#closed = true;
    native.closeHandle(this.handle);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

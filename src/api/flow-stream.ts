import { Readable } from 'node:stream';
import type { FlowEvent } from '../vnet/contract.js';

/** Bytes that wait for a reader; what comes after that is counted, not kept. */
const BUFFER_BYTES = 256 * 1024;

/** Flows as lines of JSON. A reader that does not keep up loses events and is told how many. */
export class FlowStream extends Readable {
  #isFull = false;
  #lost = 0;
  readonly #onLost: (count: number) => void;

  constructor(onLost: (count: number) => void) {
    super({ highWaterMark: BUFFER_BYTES });
    this.#onLost = onLost;
  }

  write(event: FlowEvent): void {
    if (this.destroyed) return;
    if (this.#isFull) {
      this.#lost += 1;
      this.#onLost(1);
      return;
    }
    this.#push(event);
  }

  end(): void {
    if (!this.destroyed) this.push(null);
  }

  #push(line: object): void {
    this.#isFull = !this.push(`${JSON.stringify(line)}\n`);
  }

  override _read(): void {
    this.#isFull = false;
    if (this.#lost === 0) return;
    const lost = this.#lost;
    this.#lost = 0;
    this.#push({ time: new Date().toISOString(), lost });
  }
}

/** The connection table as it is, and the removal of what is picked of it. */
import { type ConntrackEntry, type ConntrackKey, ConntrackEntry as Entry } from './abi/generated.js';
import type { ConntrackSweeper } from './conntrack-sweeper.js';
import type { TypedMap } from './typed-map.js';

/** Records that are decoded before others get a turn. */
const PIECE = 1024;

export class ConnectionTable {
  constructor(
    private readonly records: Pick<TypedMap<ConntrackKey, ConntrackEntry>, 'raw'>,
    private readonly sweeper: Pick<ConntrackSweeper, 'flush' | 'flushMax'>,
  ) {}

  /** Records, piece by piece; those that come or go meanwhile may be among them or not. */
  async *pieces(): AsyncGenerator<ConntrackEntry[], void, void> {
    for await (const { values } of this.records.raw.pieces(PIECE)) yield Entry.decodeMany(values);
  }

  /** Removes every record that fits. Returns how many. */
  async flush(fits: (record: ConntrackEntry) => boolean): Promise<number> {
    let flushed = 0;
    for await (const piece of this.pieces()) {
      // Without a nonce it is nobody's: just made, or just being removed.
      const picked = piece.filter((record) => record.nonce !== 0 && fits(record));
      for (let at = 0; at < picked.length; at += this.sweeper.flushMax) {
        flushed += await this.sweeper.flush(picked.slice(at, at + this.sweeper.flushMax));
      }
    }
    return flushed;
  }
}

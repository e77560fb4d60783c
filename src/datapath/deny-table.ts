/** The ranges from which nothing is taken, as the programs on the uplink look them up. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Cidr, parseCidr, toBytes16 } from '../model/address.js';
import { DenyKey, DenyKeyBits } from './abi/generated.js';
import type { InboundControl } from './inbound.js';
import type { DatapathMaps } from './maps.js';

/** Ranges that are encoded before the event loop gets a turn. */
const RANGES_PER_TURN = 2048;

/** An IPv4 range in the mapped form starts at this bit. */
const MAPPED_BITS = 96;

export class DenyTable {
  constructor(
    private readonly map: DatapathMaps['deny'],
    private readonly control: Pick<InboundControl, 'denies'>,
  ) {}

  /**
   * Adds ranges, then removes others, off the event loop: what is in both the list before and the one after is denied at
   * each moment. `total` is how many there are then. When it throws, what it added is gone again.
   */
  async change(added: readonly string[], removed: readonly string[], total: number): Promise<void> {
    const keys = await encode(added);
    if (added.length > 0) {
      this.control.denies = true;
      try {
        await this.map.raw.setBatch(keys, ones(added.length));
      } catch (error) {
        await this.map.raw.deleteBatch(keys);
        throw error;
      }
    }
    if (removed.length > 0) await this.map.raw.deleteBatch(await encode(removed));
    this.control.denies = total > 0;
  }

  /** Makes it the list that it is to be, whatever it was: after a start. */
  async sync(wanted: readonly string[]): Promise<void> {
    const { keys: present } = await this.map.raw.entries();
    const text = (keys: Uint8Array, at: number) =>
      Buffer.from(keys.buffer, keys.byteOffset + at * DenyKey.size, DenyKey.size).toString('latin1');
    const there = new Set<string>();
    for (let at = 0; at * DenyKey.size < present.length; at++) there.add(text(present, at));
    const keys = await encode(wanted);
    const missing = wanted.filter((_, at) => !there.delete(text(keys, at)));
    const surplus = Buffer.from([...there].join(''), 'latin1');
    if (missing.length > 0) await this.map.raw.setBatch(await encode(missing), ones(missing.length));
    if (surplus.length > 0) await this.map.raw.deleteBatch(surplus);
    this.control.denies = wanted.length > 0;
  }
}

async function encode(cidrs: readonly string[]): Promise<Uint8Array> {
  const bytes = new Uint8Array(cidrs.length * DenyKey.size);
  for (const [at, text] of cidrs.entries()) {
    if (at > 0 && at % RANGES_PER_TURN === 0) await nextTurn();
    bytes.set(DenyKey.encode(keyOf(parseCidr(text))), at * DenyKey.size);
  }
  return bytes;
}

function keyOf({ family, base, prefixLength }: Cidr): DenyKey {
  return {
    prefixLength: DenyKeyBits.BITS + (family === 4 ? MAPPED_BITS : 0) + prefixLength,
    family,
    address: toBytes16({ family, value: base }),
  };
}

function ones(count: number): Uint8Array {
  return new Uint8Array(new Uint32Array(count).fill(1).buffer);
}

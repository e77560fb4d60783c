/** A BPF map whose keys and values are objects instead of bytes. */
import type { BpfMap } from '../native/bpf.js';
import type { Steps } from '../work/steps.js';
import { inTurns } from '../work/turns.js';
import { type Codec, decodePerCpu } from './abi/codec.js';

/** Each takes a few microseconds. */
const DECODED_PER_STEP = 32;

export class TypedMap<K, V> {
  constructor(
    readonly raw: BpfMap,
    private readonly key: Codec<K>,
    private readonly value: Codec<V>,
  ) {}

  /** How many entries there may be. */
  get maxEntries(): number {
    return this.raw.info.maxEntries;
  }

  get(key: K): V | undefined {
    const bytes = this.raw.get(this.key.encode(key));
    return bytes && this.value.decode(bytes);
  }

  set(key: K, value: V): void {
    this.raw.set(this.key.encode(key), this.value.encode(value));
  }

  /** Whether there was such an entry. */
  delete(key: K): boolean {
    return this.raw.delete(this.key.encode(key));
  }

  /** Every entry, read off the event loop. Entries that change meanwhile may be missing or old. */
  async entries(): Promise<[K, V][]> {
    const { keys, values } = await this.raw.entries();
    return inTurns(this.decoding(keys, values));
  }

  private *decoding(keys: Uint8Array, values: Uint8Array): Steps<[K, V][]> {
    const entries: [K, V][] = [];
    const { key, value } = this;
    const part = <T>(codec: Codec<T>, bytes: Uint8Array, first: number) =>
      codec.decodeMany(bytes.subarray(first * codec.size, (first + DECODED_PER_STEP) * codec.size));
    for (let first = 0; first * key.size < keys.length; first += DECODED_PER_STEP) {
      const decoded = part(value, values, first);
      for (const [index, one] of part(key, keys, first).entries()) entries.push([one, decoded[index] as V]);
      yield;
    }
    return entries;
  }

  /** Every entry of a per-CPU map, with one value for each possible CPU. */
  async entriesPerCpu(): Promise<[K, V[]][]> {
    const { keys, values } = await this.raw.entries();
    const stride = this.raw.valueBytes;
    return this.key
      .decodeMany(keys)
      .map((key, index) => [
        key,
        decodePerCpu(this.value, values.subarray(index * stride, (index + 1) * stride)),
      ]);
  }
}

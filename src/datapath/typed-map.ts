/** A BPF map whose keys and values are objects instead of bytes. */
import type { BpfMap } from '../native/bpf.js';
import { type Codec, decodePerCpu } from './abi/codec.js';

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
    const decoded = this.value.decodeMany(values);
    return this.key.decodeMany(keys).map((key, index) => [key, decoded[index] as V]);
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

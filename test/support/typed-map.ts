import type { Codec, MapSpec } from '../../src/datapath/abi/codec.js';
import type { BpfMap } from '../../src/native/bpf.js';

/** A BPF map seen through the generated codecs. Not for per-CPU maps. */
export class TypedMap<K, V> {
  readonly map: BpfMap;
  readonly #key: Codec<K>;
  readonly #value: Codec<V>;

  constructor(map: BpfMap, spec: MapSpec & { readonly key: Codec<K>; readonly value: Codec<V> }) {
    this.map = map;
    this.#key = spec.key;
    this.#value = spec.value;
  }

  get(key: K): V | undefined {
    const bytes = this.map.get(this.#key.encode(key));
    return bytes && this.#value.decode(bytes);
  }

  set(key: K, value: V): void {
    this.map.set(this.#key.encode(key), this.#value.encode(value));
  }

  delete(key: K): boolean {
    return this.map.delete(this.#key.encode(key));
  }

  entries(): { key: K; value: V }[] {
    return [...this.map.keys()].flatMap((bytes) => {
      const key = this.#key.decode(bytes);
      const value = this.get(key);
      return value === undefined ? [] : [{ key, value }];
    });
  }

  clear(): void {
    for (const key of [...this.map.keys()]) this.map.delete(key);
  }
}

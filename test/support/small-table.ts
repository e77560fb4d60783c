/** The policy tables, in memory and as small as wanted. */
import type { DatapathMaps } from '../../src/datapath/maps.js';
import { PolicyTable } from '../../src/datapath/policy-table.js';
import type { PolicyRoom } from '../../src/model/cut-off.js';
import { KernelError } from '../../src/native/errors.js';

/** A map of the kernel that takes as many entries. */
class SmallMap<K, V> {
  readonly #entries = new Map<string, [K, V]>();

  /** `memory`: entries that there is memory for, where that is less. */
  constructor(
    readonly maxEntries: number,
    private readonly memory = maxEntries,
  ) {}

  get(key: K): V | undefined {
    return structuredClone(this.#entries.get(JSON.stringify(key))?.[1]);
  }

  set(key: K, value: V): void {
    const text = JSON.stringify(key);
    const isNew = !this.#entries.has(text);
    if (isNew && this.#entries.size >= this.maxEntries) throw failure(7, 'E2BIG');
    if (isNew && this.#entries.size >= this.memory) throw failure(12, 'ENOMEM');
    this.#entries.set(text, structuredClone([key, value]));
  }

  delete(key: K): boolean {
    return this.#entries.delete(JSON.stringify(key));
  }

  async entries(): Promise<[K, V][]> {
    return structuredClone([...this.#entries.values()]);
  }
}

function failure(errno: number, code: string): KernelError {
  return new KernelError({ errno, code, text: 'full', operation: 'update', object: 'map' });
}

export function smallTable(sizes: PolicyRoom, memory: Partial<PolicyRoom> = {}): PolicyTable {
  const maps = {
    control: new SmallMap(1),
    policy: new SmallMap(sizes.policy_max, memory.policy_max),
    subjects: new SmallMap(sizes.subjects_max, memory.subjects_max),
    cidrs: new SmallMap(sizes.policy_cidrs_max, memory.policy_cidrs_max),
  };
  return new PolicyTable(maps as unknown as DatapathMaps, async () => undefined);
}

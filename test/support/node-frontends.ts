/** Ports that lead to containers, written straight into the maps of a daemon. */
import { join } from 'node:path';
import { MAPS, PrefixKind } from '../../src/datapath/abi/generated.js';
import { BpfMap } from '../../src/native/bpf.js';
import type { Daemon } from './daemon.js';
import { mappedAddress } from './packet.js';
import { TypedMap } from './typed-map.js';

const ANY_ADDRESS = new Uint8Array(16);
const PROTOCOL = { tcp: 6, udp: 17 } as const;

export interface Frontend {
  /** Every address of the node, if none is given. */
  address?: string;
  port: number;
  /** Default: both. */
  protocol?: 'tcp' | 'udp';
  backends: readonly { address: string; port: number }[];
  affinityS?: number;
}

export class Frontends implements Disposable {
  readonly #frontends;
  readonly #slots;
  readonly #backends;
  readonly #affinity;
  readonly #prefixes;
  readonly #services = new Set<string>();
  #last = 0;

  constructor({ bpffs }: Daemon) {
    const pinned = (name: string) => BpfMap.fromPin(join(bpffs, 'maps', name));
    this.#frontends = new TypedMap(pinned('qn_frontends'), MAPS.qn_frontends);
    this.#slots = new TypedMap(pinned('qn_slots'), MAPS.qn_slots);
    this.#backends = new TypedMap(pinned('qn_backends'), MAPS.qn_backends);
    this.#affinity = new TypedMap(pinned('qn_affinity'), MAPS.qn_affinity);
    this.#prefixes = new TypedMap(pinned('qn_prefixes'), MAPS.qn_prefixes);
  }

  /** From now on; what another frontend had in its place is not there any more. */
  publish({ address, port, protocol, backends, affinityS = 0 }: Frontend): void {
    for (const each of protocol === undefined ? (['tcp', 'udp'] as const) : [protocol]) {
      const id = ++this.#last;
      const first = id * 16;
      for (const [at, backend] of backends.entries()) {
        this.#backends.set(first + at, {
          frontendId: id,
          address: mappedAddress(backend.address),
          port: backend.port,
        });
        this.#slots.set(first + at, first + at);
      }
      this.#frontends.set(
        {
          address: address === undefined ? ANY_ADDRESS : mappedAddress(address),
          port,
          protocol: PROTOCOL[each],
        },
        {
          ...{ version: BigInt(id), versionEnd: BigInt(id) },
          ...{ id, first, slots: backends.length, affinityS },
        },
      );
    }
  }

  /** The address is a service's. */
  service(address: string): void {
    this.#services.add(address);
    this.#prefixes.set(prefixKey(address), {
      kind: PrefixKind.SERVICE,
      networkId: 0,
      gateway: new Uint8Array(16),
    });
  }

  /** Takes away everything. */
  clear(): void {
    this.#frontends.clear();
    this.#affinity.clear();
    for (const address of this.#services) this.#prefixes.delete(prefixKey(address));
    this.#services.clear();
  }

  [Symbol.dispose](): void {
    this.clear();
    for (const { map } of [this.#frontends, this.#slots, this.#backends, this.#affinity, this.#prefixes])
      map.close();
  }
}

function prefixKey(address: string) {
  return { prefixLength: 128, address: mappedAddress(address) };
}

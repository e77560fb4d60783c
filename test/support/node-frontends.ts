/** Ports that lead to containers, written straight into the maps of a daemon. */
import { join } from 'node:path';
import { MAPS, PrefixKind } from '../../src/datapath/abi/generated.js';
import { BpfMap } from '../../src/native/bpf.js';
import type { Daemon } from './daemon.js';
import { type TestFrontend, writeFrontend } from './frontends.js';
import { mappedAddress } from './packet.js';
import { PROTOCOL } from './packet-fields.js';
import { TypedMap } from './typed-map.js';

type NodeFrontend = Omit<TestFrontend, 'protocol' | 'id'>;

export class NodeFrontends implements Disposable {
  readonly frontends;
  readonly slots;
  readonly backends;
  readonly #affinity;
  readonly #prefixes;
  readonly #services = new Set<string>();
  #last = 0;

  constructor({ bpffs }: Daemon) {
    const pinned = (name: string) => BpfMap.fromPin(join(bpffs, 'maps', name));
    this.frontends = new TypedMap(pinned('qn_frontends'), MAPS.qn_frontends);
    this.slots = new TypedMap(pinned('qn_slots'), MAPS.qn_slots);
    this.backends = new TypedMap(pinned('qn_backends'), MAPS.qn_backends);
    this.#affinity = new TypedMap(pinned('qn_affinity'), MAPS.qn_affinity);
    this.#prefixes = new TypedMap(pinned('qn_prefixes'), MAPS.qn_prefixes);
  }

  /** TCP and UDP, from now on; what was in their place is not there any more. */
  publish(frontend: NodeFrontend): void {
    for (const protocol of [PROTOCOL.TCP, PROTOCOL.UDP]) {
      this.#last += 1;
      writeFrontend(this, { ...frontend, protocol, id: this.#last });
    }
  }

  /** Nobody serves there any more. */
  withdraw({ address, port }: Pick<NodeFrontend, 'address' | 'port'>): void {
    for (const protocol of [PROTOCOL.TCP, PROTOCOL.UDP])
      this.frontends.delete({ address: mappedAddress(address), port, protocol });
  }

  /** The address is a service's. */
  service(address: string): void {
    this.#services.add(address);
    const gateway = new Uint8Array(16);
    this.#prefixes.set(prefixKey(address), { kind: PrefixKind.SERVICE, networkId: 0, gateway });
  }

  /** Takes away everything. */
  clear(): void {
    this.frontends.clear();
    this.#affinity.clear();
    for (const address of this.#services) this.#prefixes.delete(prefixKey(address));
    this.#services.clear();
  }

  [Symbol.dispose](): void {
    this.clear();
    for (const { map } of [this.frontends, this.slots, this.backends, this.#affinity, this.#prefixes])
      map.close();
  }
}

function prefixKey(address: string) {
  return { prefixLength: 128, address: mappedAddress(address) };
}

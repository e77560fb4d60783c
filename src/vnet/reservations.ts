/**
 * Addresses that a container runtime has asked for before the endpoint that is to have them: each is in the name of
 * an endpoint that never comes about, until one of that runtime's takes it over.
 */
import { type Family, formatAddress, parseAddress } from '../model/address.js';
import type { Network } from '../model/network.js';
import type { Store, Transaction } from '../store/store.js';
import { addresses, endpoints, networks, nextNumber } from '../store/tables.js';
import type { ReservationService } from './contract.js';
import { allocateAddress, releaseAddress } from './ipam.js';
import { requireNetwork } from './networks.js';
import type { Serial } from './serial.js';

/** How long a runtime may take from the one to the other. */
const RESERVED_MS = 600_000;

export class Reservations implements ReservationService {
  /** Since when each is reserved, by network and address. */
  private readonly since = new Map<string, number>();

  constructor(private readonly parts: { store: Store; serial: Serial }) {}

  reserve(networkName: string, family: Family, wanted?: string): Promise<string> {
    const { store, serial } = this.parts;
    return serial.run(() =>
      store.transaction((transaction) => {
        const network = requireNetwork(transaction, networkName);
        const holder = nextNumber(transaction, 'endpoint');
        const address = allocateAddress(transaction, network, family, holder, wanted);
        this.since.set(keyOf(network, address), performance.now());
        return address;
      }),
    );
  }

  release(networkName: string, address: string): Promise<void> {
    const { store, serial } = this.parts;
    return serial.run(() =>
      store.transaction((transaction) => {
        const network = transaction.get(networks, [networkName]);
        if (network !== undefined) releaseReservation(transaction, network, address);
      }),
    );
  }

  /** Releases those that nobody has taken over in time, and those of a daemon before this one. */
  collect(): Promise<void> {
    const { store, serial } = this.parts;
    return serial.run(async () => {
      const now = performance.now();
      for (const [key, since] of this.since) if (now - since > RESERVED_MS) this.since.delete(key);
      const stale = store.list(networks).flatMap((network) =>
        store
          .list(addresses, [network.id])
          .filter(({ endpoint_id }) => store.get(endpoints, [endpoint_id]) === undefined)
          .filter(({ address }) => !this.since.has(keyOf(network, address)))
          .map(({ address }) => ({ network, address })),
      );
      if (stale.length === 0) return;
      await store.transaction((transaction) => {
        for (const { network, address } of stale) releaseReservation(transaction, network, address);
      });
    });
  }
}

/** Gives an address back that is reserved; one that an endpoint has stays, and one that nobody has is fine. */
export function releaseReservation(transaction: Transaction, network: Network, text: string): void {
  const address = formatAddress(parseAddress(text));
  const holder = transaction.get(addresses, [network.id, address])?.endpoint_id;
  if (holder === undefined || transaction.get(endpoints, [holder]) !== undefined) return;
  releaseAddress(transaction, network, address, holder);
}

function keyOf({ id }: Network, address: string): string {
  return `${id} ${address}`;
}

/** Networks as a container runtime knows them, which has numbers of its own for them. */
import { AppError } from '../model/errors.js';
import type { Network } from '../model/network.js';
import type { Store } from '../store/store.js';
import { networks, runtimeNetworks } from '../store/tables.js';
import type { RuntimeNetwork, RuntimeNetworkService } from './contract.js';

export class RuntimeNetworks implements RuntimeNetworkService {
  constructor(private readonly store: Store) {}

  find(key: string): RuntimeNetwork | undefined {
    const record = this.store.get(runtimeNetworks, [key]);
    if (record === undefined) return undefined;
    const network = this.store.get(networks, [record.network]);
    // A network of that name that was made later is another one.
    return network?.id === record.network_id ? { network, owned: record.owned } : undefined;
  }

  async bind(key: string, network: Network, owned: boolean): Promise<void> {
    await this.store.transaction((transaction) => {
      if (transaction.get(networks, [network.name])?.id !== network.id) {
        throw new AppError('NETWORK_NOT_FOUND', `there is no network ${network.name} any more`);
      }
      const record = { key, network: network.name, network_id: network.id, owned };
      transaction.put(runtimeNetworks, [key], record);
    });
  }

  isOwned({ id }: Network): boolean {
    return this.store.list(runtimeNetworks).some(({ network_id, owned }) => owned && network_id === id);
  }

  async forget(key: string): Promise<void> {
    await this.store.transaction((transaction) => {
      transaction.delete(runtimeNetworks, [key]);
    });
  }
}

/** Changes who running containers are, and their options: their interfaces stay. */
import { type Endpoint, type EndpointPatch, patchedLabels } from '../../model/endpoint.js';
import { AppError } from '../../model/errors.js';
import { endpoints } from '../../store/tables.js';
import type { Publishing } from '../nat/publishing.js';
import { requireNetwork } from '../networks.js';
import { capacityError, type Enlistment } from '../policy/enlistment.js';
import { requireIdentity } from '../policy/identities.js';
import type { PolicySync } from '../policy/policy-sync.js';
import { Rollback } from '../rollback.js';
import { endpointState } from './endpoint-state.js';
import { type LimitingParts, limitEndpoint } from './limiting.js';

export interface RelabellingParts extends LimitingParts {
  policy: PolicySync;
  publishing: Publishing;
}

/** Only under the serial. */
export class Relabelling {
  constructor(
    private readonly parts: RelabellingParts,
    private readonly enlistment: Enlistment,
  ) {}

  /** All of a container's endpoints or none; returns the first. */
  async patch(
    [first, ...others]: readonly [Endpoint, ...Endpoint[]],
    patch: EndpointPatch,
  ): Promise<Endpoint> {
    const unfinished = [first, ...others].find(({ state }) => state !== 'ready');
    if (unfinished !== undefined) {
      throw new AppError('NOT_READY', `the endpoint is ${unfinished.state}: it cannot be changed yet`);
    }
    const rollback = new Rollback(this.parts.onLeft);
    const relabel = async (before: Endpoint) => {
      const { options } = patch;
      const named = await this.relabel(before, patch);
      rollback.add(`endpoint ${before.id} is who it was told to be`, () => this.relabel(named, before));
      if (options === undefined) return named;
      const limited = await limitEndpoint(this.parts, named, options);
      rollback.add(`endpoint ${before.id} has the options that it was given`, () =>
        limitEndpoint(this.parts, limited, before.options ?? {}),
      );
      return limited;
    };
    try {
      const changed = await relabel(first);
      // A container that is told to be somebody else is so on all of its interfaces.
      for (const endpoint of others) await relabel(endpoint);
      return changed;
    } catch (error) {
      await rollback.run();
      throw error;
    }
  }

  /**
   * Gives the endpoint another identity: its rules first, then the records, the programs last. When it fails, nothing has
   * changed.
   */
  private async relabel(before: Endpoint, change: EndpointPatch): Promise<Endpoint> {
    const { store, host, datapath, policy, publishing, onLeft } = this.parts;
    const { id, network: name, network_id } = before;
    const network = requireNetwork(store, name);
    const link = host.link(before.host_interface);
    const tell = (endpoint: Endpoint) => {
      if (link !== undefined) datapath.endpoints.put(endpointState(store, endpoint, network, link.index));
    };
    const set = {
      labels: patchedLabels(before.labels, change),
      namespace: change.namespace ?? before.namespace,
    };
    const rollback = new Rollback(onLeft);
    let after = before;
    try {
      const claimed = await this.enlistment.enlist(id, { network: name, network_id, ...set });
      const identity = claimed.id;
      after = { ...before, ...set, identity };
      if (identity !== before.identity) {
        rollback.add(`rules of identity ${identity}`, () => this.enlistment.giveUp(id, claimed));
      }
      await store.transaction((transaction) => {
        requireIdentity(transaction, identity);
        transaction.put(endpoints, [id], after);
      });
      if (identity === before.identity) return after;
      rollback.add(`endpoint ${id} is recorded with labels that are not in force`, () =>
        store.transaction((transaction) => transaction.put(endpoints, [id], before)),
      );
      rollback.add(`services that lead to endpoint ${id}, or do not`, () =>
        publishing.relabel(after, before),
      );
      await publishing.relabel(before, after);
      rollback.add(`the programs may take endpoint ${id} for who it was to be`, async () => {
        tell(before);
        // Flows that were opened meanwhile are judged by rules that go.
        await policy.judgeAgain();
      });
      tell(after);
      await policy.judgeAgain();
    } catch (error) {
      await rollback.run();
      throw capacityError(error);
    }
    await this.enlistment.retire(before);
    return after;
  }
}

/** What can be seen of the node: readiness, identities, traffic, connections, flows. */

import { type Count, dropReasonName } from '../datapath/counters.js';
import type { Datapath } from '../datapath/datapath.js';
import type { Preceded } from '../datapath/hooks/precedence.js';
import { LINED_UP } from '../datapath/programs.js';
import type { Endpoint } from '../model/endpoint.js';
import {
  PRECEDED_BY_TOLD,
  PRECEDED_TOLD,
  READINESS,
  type Readiness,
  UNREPAIRED_TOLD,
} from '../model/health.js';
import type { Identity } from '../model/identity.js';
import type { Store } from '../store/store.js';
import { endpoints, identities } from '../store/tables.js';
import type { FlowEvent, LinkRepairs, Observation, PrecededPrograms, TrafficSample } from './contract.js';
import type { FlowLog } from './flow-log.js';
import type { NodeConnect } from './nat/node-connect.js';
import type { Uplinks } from './nat/uplinks.js';
import type { IdentityUse } from './policy/identities.js';
import type { PolicySync } from './policy/policy-sync.js';
import type { Repairs } from './repairs.js';

type Check = (typeof READINESS)[number];

export class NodeObservation implements Observation {
  private readonly met = new Set<Check>();
  /** Traffic of endpoints that are gone, by what they are a sample of: what was counted is never uncounted. */
  private readonly past = new Map<string, TrafficSample>();
  /** Endpoints that are gone and whose counters the kernel still has. */
  private readonly gone = new Map<number, Endpoint>();

  constructor(
    private readonly parts: {
      store: Store;
      datapath: Datapath;
      identityUse: IdentityUse;
      flows: FlowLog;
      uplinks: Pick<Uplinks, 'states'>;
      nodeConnect: Pick<NodeConnect, 'state'>;
      policy: Pick<PolicySync, 'state'>;
      repairs: Pick<Repairs, 'problems'>;
    },
  ) {}

  /** From now on this condition holds. */
  fulfil(check: Check): void {
    this.met.add(check);
  }

  readiness(): Readiness {
    const checks = READINESS.map((name) => ({ name, ready: this.met.has(name) }));
    const { states: uplinks } = this.parts.uplinks;
    const [uplink] = uplinks;
    const node_connect = this.parts.nodeConnect.state;
    const { state: policies } = this.parts.policy;
    const preceded = this.parts.datapath.precedence.list();
    const problems = this.parts.repairs.problems();
    return {
      ready: checks.every(({ ready }) => ready),
      checks,
      ...(uplink === undefined ? {} : { uplink, uplinks: [...uplinks] }),
      ...(node_connect === undefined ? {} : { node_connect }),
      ...(policies === undefined ? {} : { policies }),
      ...(preceded.length === 0 ? {} : { preceded: precededState(preceded) }),
      ...(problems.length === 0 ? {} : { unrepaired: unrepairedState(problems) }),
    };
  }

  preceded(): PrecededPrograms[] {
    const pins = this.parts.datapath.precedence.list();
    return LINED_UP.map((program) => ({
      program,
      count: pins.filter((one) => one.program === program).length,
    }));
  }

  identities(): (Identity & { endpoints: number })[] {
    const { store, identityUse } = this.parts;
    return store
      .list(identities)
      .map((identity) => ({ ...identity, endpoints: identityUse.count(identity.id) }));
  }

  async traffic(): Promise<TrafficSample[]> {
    const counts = await this.parts.datapath.counters.read();
    const { store } = this.parts;
    const live = counts.flatMap((count) => {
      const endpoint = store.get(endpoints, [count.endpointId]);
      return endpoint === undefined || this.gone.has(count.endpointId)
        ? []
        : [sample(count, endpoint.network, endpoint.id)];
    });
    const past = new Map([...this.past].map(([key, value]) => [key, { ...value }]));
    for (const count of counts) {
      const endpoint = this.gone.get(count.endpointId);
      if (endpoint !== undefined) addTo(past, sample(count, endpoint.network, 0));
      else if (count.endpointId === 0) addTo(past, sample(count, '', 0));
    }
    return [...live, ...past.values()];
  }

  /** The endpoint's counters leave the kernel soon, and stay in the sums of its network. */
  retire(endpoint: Endpoint): void {
    this.gone.set(endpoint.id, endpoint);
  }

  /** Moves the counters of endpoints that are gone out of the kernel. */
  async collectRetired(): Promise<void> {
    const retired = new Map(this.gone);
    if (retired.size === 0) return;
    const { counters, endpoints: table } = this.parts.datapath;
    const counts = await counters.read();
    await counters.remove(new Set(retired.keys()));
    for (const id of retired.keys()) table.forget(id);
    for (const count of counts) {
      const endpoint = retired.get(count.endpointId);
      if (endpoint !== undefined) addTo(this.past, sample(count, endpoint.network, 0));
    }
    for (const id of retired.keys()) this.gone.delete(id);
  }

  lostEvents(): Record<string, bigint> {
    return this.parts.datapath.lostEvents();
  }

  repairs(): LinkRepairs[] {
    return this.parts.datapath.repairs.totals();
  }

  connections(): { used: number; max: number } {
    const { sweeper, conntrackMax } = this.parts.datapath;
    return { used: sweeper.records, max: conntrackMax };
  }

  translations(): { used: number; max: number } {
    const { sweeper, translationsMax } = this.parts.datapath;
    return { used: sweeper.aliases, max: translationsMax };
  }

  watchFlows(listener: (event: FlowEvent) => void, signal: AbortSignal): void {
    this.parts.flows.watch(listener, signal);
  }

  recentFlows(limit: number): FlowEvent[] {
    return this.parts.flows.last(limit);
  }
}

function precededState(preceded: readonly Preceded[]): NonNullable<Readiness['preceded']> {
  return {
    attachments: preceded.length,
    first: preceded.slice(0, PRECEDED_TOLD).map(({ pin, program, by }) => ({
      pin,
      program,
      in_front: by.slice(0, PRECEDED_BY_TOLD),
    })),
    message:
      'programs of others run before ours, and can pass what ours would drop: detach them, or have them attached behind',
  };
}

function unrepairedState(problems: readonly string[]): NonNullable<Readiness['unrepaired']> {
  return {
    problems: problems.length,
    first: problems.slice(0, UNREPAIRED_TOLD).map((problem) => problem.slice(0, 1024)),
    message:
      'programs or pins of ours are taken away and cannot be kept in place: what ours would drop can pass where they are off',
  };
}

function sample(count: Count, network: string, endpointId: number): TrafficSample {
  const { direction, audited, packets, bytes } = count;
  return {
    endpoint_id: endpointId,
    network,
    direction,
    reason: dropReasonName(count.reason),
    audited,
    packets,
    bytes,
  };
}

function addTo(sums: Map<string, TrafficSample>, addition: TrafficSample): void {
  const { network, direction, reason, audited } = addition;
  const key = `${network}/${direction}/${reason}/${audited}`;
  const sum = sums.get(key);
  if (sum === undefined) sums.set(key, { ...addition });
  else {
    sum.packets += addition.packets;
    sum.bytes += addition.bytes;
  }
}

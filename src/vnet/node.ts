/** Composes the node: the store's wishes on one side, the kernel on the other, the services between them. */
import { hostname } from 'node:os';
import { join } from 'node:path';
import { ensureRouterDevice, removeRouterDevice } from '../bridge/router-device.js';
import { Datapath } from '../datapath/datapath.js';
import type { PinWatch } from '../datapath/hooks/pin-watch.js';
import { nodeLabels } from '../model/node-labels.js';
import type { Settings } from '../model/settings.js';
import { Rtnl } from '../native/net.js';
import { markExpedition } from '../native/rcu.js';
import type { Store } from '../store/store.js';
import { networks } from '../store/tables.js';
import type { Node } from './contract.js';
import { Endpoints } from './endpoints/endpoints.js';
import { Explanations } from './explain.js';
import { FlowLog } from './flow-log.js';
import { Gate } from './gate.js';
import { HostPrefixes, type IsOwn, ownAddresses } from './host-prefixes.js';
import { Namespaces } from './namespaces.js';
import { Services } from './nat/balancing.js';
import { Connections } from './nat/connections.js';
import { DenyListKeeper } from './nat/deny-list.js';
import { listeningAt } from './nat/listeners.js';
import { NodeConnect } from './nat/node-connect.js';
import { NodePorts } from './nat/node-ports.js';
import { PortMappings } from './nat/port-mappings.js';
import { Publishing } from './nat/publishing.js';
import { ServiceAddresses } from './nat/service-addresses.js';
import { Uplinks } from './nat/uplinks.js';
import { type NetworkFiles, Networks, networkSources } from './networks.js';
import { NoticeDelay } from './notice-delay.js';
import { NodeObservation } from './observation.js';
import { IdentityUse } from './policy/identities.js';
import { isolatedBy } from './policy/isolating.js';
import { Policies } from './policy/policies.js';
import { previewPolicies } from './policy/policy-preview.js';
import { PolicySync } from './policy/policy-sync.js';
import { Reachability } from './policy/reachability.js';
import { recordedEngine } from './policy/recorded-engine.js';
import { type ReconcileReport, reconcile, survey } from './reconcile.js';
import { Repairs } from './repairs.js';
import { Reservations } from './reservations.js';
import { Retry } from './retry.js';
import type { OnLeft } from './rollback.js';
import { RuntimeNetworks } from './runtime-networks.js';
import { Serial } from './serial.js';
import { Upkeep } from './upkeep.js';

/** How often programs and pins are looked after, and counters of endpoints that are gone are taken out of the kernel. */
const UPKEEP_INTERVAL_MS = 5_000;

/** Looks after those that could not put something back, before the next at intervals: the kernel may still be ending a link. */
const RETRIES_MS = [100, 1_000] as const;

/** As much of a logger as is used here; pino's has it. */
export interface NodeLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface NodeOptions {
  settings: Settings;
  store: Store;
  files: NetworkFiles;
  log: NodeLog;
}

export class LocalNode implements Node, AsyncDisposable {
  readonly networks: Networks;
  readonly endpoints: Endpoints;
  readonly runtimeNetworks: RuntimeNetworks;
  readonly reservations: Reservations;
  readonly namespaces: Namespaces;
  readonly policies: Policies;
  readonly portMappings: PortMappings;
  readonly services: Services;
  readonly connections: Connections;
  readonly observation: NodeObservation;
  readonly explanations: Explanations;
  readonly denyList: DenyListKeeper;
  private readonly gate = new Gate();
  private readonly serial = new Serial(this.gate.opened);
  private readonly identityUse: IdentityUse;
  private readonly policy: PolicySync;
  private readonly ensuring: Retry;
  private readonly prefixes: HostPrefixes;
  private readonly flows: FlowLog;
  private readonly uplinks: Uplinks;
  private readonly publishing: Publishing;
  private readonly nodeConnect: NodeConnect;
  private readonly repairs: Repairs;
  private readonly upkeep: Upkeep;
  private filterWatch: Disposable | undefined;
  private readonly noticeDelay = new NoticeDelay(UPKEEP_INTERVAL_MS);
  private readonly pinWatch: PinWatch;
  private isStarted = false;

  private constructor(
    private readonly options: NodeOptions,
    private readonly host: Rtnl,
    readonly datapath: Datapath,
  ) {
    const { store, files, log } = options;
    const { node_labels, host_access } = options.settings;
    const onLeft: OnLeft = (error, what) =>
      log.error({ err: error, left: what }, 'something of a change that failed could not be taken back');
    this.denyList = new DenyListKeeper({ store, table: datapath.deny, ready: this.gate.opened, onLeft });
    this.identityUse = new IdentityUse(store);
    const node = { labels: nodeLabels(node_labels, hostname()), hostAccess: host_access };
    const engine = recordedEngine(store, this.identityUse, { node }, datapath.policyMax);
    const onError = (what: string) => (error: unknown) => log.error({ err: error }, what);
    this.policy = new PolicySync(engine, datapath.policy, store, datapath.sweeper, {
      error: (error, what) => log.error({ err: error }, what),
      left: onLeft,
      uncertain: () => this.ensuring.start(),
    });
    this.ensuring = new Retry(
      () => this.serial.run(() => this.policy.ensure()),
      onError('could not make sure that the policies are in force'),
    );
    this.prefixes = new HostPrefixes(store, host, datapath.endpoints);
    this.uplinks = new Uplinks({
      setting: options.settings.uplink,
      xdpSetting: options.settings.xdp,
      host,
      hook: datapath.uplinks,
      xdp: datapath.xdp,
      router: { ensure: () => ensureRouterDevice(host), remove: () => removeRouterDevice(host) },
      onChange: (uplinks) => log.info({ uplinks }, 'the way to the outside'),
      onError: (error) => log.error({ err: error }, 'could not follow the uplink'),
    });
    this.publishing = new Publishing(store, datapath.frontends);
    const isOwn: IsOwn = (address) => ownAddresses(store, host)(address);
    const nodePorts = new NodePorts({ settings: options.settings, isOwn, listeningAt });
    this.nodeConnect = new NodeConnect({
      hooks: datapath.socketHooks,
      onChange: (state) => log.info(state, "the way of the node's own processes to port mappings"),
      onError: (error) => log.error({ err: error }, 'could not attach the hooks of sockets'),
    });
    const { links, repairs, precedence, spares } = datapath;
    this.repairs = new Repairs({ links, repairs, precedence, spares, log });
    const isolating = isolatedBy(this.policy.inForce);
    this.flows = new FlowLog(store, isolating);
    const { serial, identityUse, policy, prefixes, uplinks, nodeConnect, flows, publishing } = this;
    this.observation = new NodeObservation({
      store,
      datapath,
      identityUse,
      flows,
      uplinks,
      nodeConnect,
      policy,
      repairs: this.repairs,
    });
    this.pinWatch = links.watch(() => this.upkeep.request(0));
    let problems: string[] = [];
    let failures = 0;
    this.upkeep = new Upkeep(
      [
        async () => (problems = await this.endpoints.mend()),
        () => uplinks.sync(),
        () => nodeConnect.sync(),
        async () => {
          // Who is to go before others needs another copy of the program, and that takes the verifier's time.
          if (!(await spares.load())) return;
          problems = await this.endpoints.mend();
          uplinks.sync();
        },
        () => {
          if (this.repairs.tell(problems)) this.noticeDelay.repaired();
          failures = problems.length === 0 ? 0 : failures + 1;
          const delayMs = RETRIES_MS[failures - 1];
          if (delayMs !== undefined) this.upkeep.request(delayMs);
        },
        // Pins that were put back may be in another directory.
        () => this.pinWatch.renew(),
        () => this.observation.collectRetired(),
      ],
      onError('could not look after pins and counters'),
    );
    this.networks = new Networks({
      store,
      serial,
      host,
      prefixes,
      sources: datapath.sources,
      policy,
      files,
      onLeft,
    });
    this.endpoints = new Endpoints({
      store,
      serial,
      host,
      datapath,
      policy,
      identityUse,
      nodePorts,
      publishing,
      onStoreError: onError('could not mark an endpoint as made'),
      // Ordinary for most runtimes, and no fault without that right, which cannot be seen from here: so not a warning.
      onSharedUserNamespace: ({ network, container_id, interface_name }) =>
        log.info(
          { network, container_id, interface_name },
          'the container has no user namespace of its own: it must not have CAP_NET_ADMIN',
        ),
      onQueueNotFound: ({ network, container_id, interface_name }) =>
        log.warn(
          { network, container_id, interface_name },
          'the interface is not found in the container: the queue there is not changed to the new limit',
        ),
      onGone: (endpoint) => this.observation.retire(endpoint),
      onLeft,
    });
    this.runtimeNetworks = new RuntimeNetworks(store);
    this.reservations = new Reservations({ store, serial });
    this.namespaces = new Namespaces({ store, serial, policy, onLeft });
    const previewed = { store, policy, host, prefixes, flows: this.flows };
    this.policies = new Policies({
      store,
      serial,
      policy,
      preview: (apply, undo) => previewPolicies(previewed, apply, undo),
      onLeft,
    });
    const reachability = new Reachability(policy.inForce, () => prefixes.inside());
    this.portMappings = new PortMappings({
      store,
      serial,
      nodePorts,
      publishing,
      policy,
      reachable: (targets) => reachability.among(targets),
      onUnknown: onError('could not find out whether port mappings are reachable from outside'),
      onLeft,
    });
    const addresses = new ServiceAddresses(options.settings, isOwn);
    this.services = new Services({ store, serial, nodePorts, addresses, prefixes, publishing, onLeft });
    this.connections = new Connections(store, datapath.connections);
    this.explanations = new Explanations({
      store,
      serial,
      host,
      policy,
      explainer: datapath.explainer,
      isolatedBy: isolating,
      publishing,
      onDisagreement: (fields) => log.error(fields, 'a program has not decided as the compiled policy says'),
    });
  }

  /** Loads the programs. Nothing that is in force changes before start(). */
  static async open(options: NodeOptions): Promise<LocalNode> {
    const datapath = await Datapath.open(options.settings);
    try {
      return new LocalNode(options, Rtnl.open(), datapath);
    } catch (error) {
      await datapath.abandon();
      throw error;
    }
  }

  /**
   * Brings the kernel to what the store wants, then follows events. Changes asked for before it ends wait for it; when it
   * fails, whoever called it is to refuse() them: what they would be made on is not known.
   */
  async start(): Promise<ReconcileReport> {
    this.isStarted = true;
    const { log, store, settings } = this.options;
    this.observation.fulfil('programs');
    this.observation.fulfil('store');
    for (const size of this.datapath.deferredSizes) {
      log.warn(size, 'a map keeps its size until the node is restarted');
    }
    markExpedition(join(settings.run_dir, 'expedited'));
    const { host, datapath, endpoints, identityUse } = this;
    const parts = { store, host, datapath, endpoints, identityUse };
    const found = survey(parts);
    await this.policy.resync();
    const { state } = this.policy;
    if (state !== undefined) log.error({ policies: state }, 'containers are cut off');
    await this.prefixes.sync();
    this.prefixes.start(
      // Who is at the other end of a flow may be the node now, or no longer.
      () => this.serial.run(() => this.policy.judgeAgain()),
      (error) => log.error({ err: error }, 'could not follow the addresses of the node'),
    );
    await datapath.sources.sync(networkSources(store.list(networks)));
    await this.denyList.sync();
    this.uplinks.sync();
    this.uplinks.start();
    this.nodeConnect.sync();
    const report = await reconcile(parts, found);
    for (const problem of report.problems) log.warn({ problem }, 'something could not be put in order');
    await this.publishing.start();
    // Once more: bridges may have gone with their addresses, and the watch may tell of it late.
    await this.prefixes.sync();
    // The daemon before this one may have ended between a change of who an endpoint is and its effect on flows.
    await this.policy.judgeAgain();
    this.datapath.onEvents((events) => this.flows.record(events));
    this.datapath.sweeper.start((error) => log.error({ err: error }, 'could not sweep the connection table'));
    this.pinWatch.renew();
    this.upkeep.start(UPKEEP_INTERVAL_MS);
    // Of TCX the kernel tells nobody.
    if (datapath.attachments.kind === 'clsact')
      this.filterWatch = host.watch(['filter'], () => this.upkeep.request(this.noticeDelay.ms));
    this.observation.fulfil('sync');
    this.gate.open();
    return report;
  }

  /** What waits for a start that has not ended is refused, and what is asked for from now on. */
  refuse(why: unknown): void {
    this.gate.refuse(why);
  }

  /** Finishes what is under way and lets go. Containers keep their network, programs and policy. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.gate.refuse();
    // First what asks for more by itself.
    this.filterWatch?.[Symbol.dispose]();
    this.pinWatch[Symbol.dispose]();
    await this.upkeep.stop();
    this.ensuring.stop();
    await this.prefixes.stop();
    this.uplinks.stop();
    await this.serial.idle();
    await this.endpoints.idle();
    await this.denyList.idle();
    if (this.isStarted) await this.datapath[Symbol.asyncDispose]();
    else await this.datapath.abandon();
    this.host.close();
  }
}

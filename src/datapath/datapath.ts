/** The kernel's side of the node: programs, their maps, and what is attached where. */
import { existsSync } from 'node:fs';
import { AppError } from '../model/errors.js';
import type { Settings } from '../model/settings.js';
import { RingBuffer } from '../native/bpf.js';
import { waitForPrograms } from '../native/rcu.js';
import { Event } from './abi/generated.js';
import { Claim } from './claim.js';
import { ConnectionTable } from './connection-table.js';
import { ConntrackSweeper } from './conntrack-sweeper.js';
import { Counters } from './counters.js';
import { DenyTable } from './deny-table.js';
import { EndpointTable } from './endpoint-table.js';
import { Explainer } from './explainer.js';
import { FrontendTable } from './frontend-table.js';
import { openAttachments } from './hooks/attachments.js';
import { type CgroupRoot, findCgroupRoot } from './hooks/cgroup-root.js';
import { ClsactFilters } from './hooks/clsact-filters.js';
import type { Attachments } from './hooks/endpoint-hooks.js';
import { LinkPins } from './hooks/link-pins.js';
import { Precedence } from './hooks/precedence.js';
import { RepairLedger } from './hooks/repair-ledger.js';
import { SocketHooks } from './hooks/socket-hooks.js';
import { Spares } from './hooks/spares.js';
import { UplinkHook } from './hooks/uplink-hook.js';
import { XdpHook } from './hooks/xdp-hook.js';
import { InboundControl } from './inbound.js';
import { PolicyTable } from './policy-table.js';
import {
  LINED_UP,
  loadCopy,
  loadPrograms,
  type PinDirectories,
  type Programs,
  preparePins,
  removePins,
} from './programs.js';
import { SourceAddresses } from './source-addresses.js';

/** Records that wait for the event loop; what comes beyond is dropped and counted. */
const EVENTS_QUEUED_MAX = 16384;
/** Whoever follows events does not see it, and under load the CPU belongs to the packets that cause them. */
const EVENTS_INTERVAL_MS = 100;

export class Datapath implements AsyncDisposable {
  /** The links of all programs that are attached. */
  readonly links: LinkPins;
  /** What of them, and of filters, was put back. */
  readonly repairs = new RepairLedger();
  /** Where programs of others run before them. */
  readonly precedence = new Precedence();
  readonly spares: Spares<(typeof LINED_UP)[number]>;
  readonly attachments: Attachments;
  readonly endpoints: EndpointTable;
  readonly policy: PolicyTable;
  readonly counters: Counters;
  readonly sweeper: ConntrackSweeper;
  readonly connections: ConnectionTable;
  readonly explainer: Explainer;
  readonly uplinks: UplinkHook;
  readonly frontends: FrontendTable;
  readonly socketHooks: SocketHooks;
  readonly xdp: XdpHook;
  readonly deny: DenyTable;
  readonly sources: SourceAddresses;
  private ring: RingBuffer | undefined;

  private constructor(
    private readonly programs: Programs,
    private readonly place: Place,
    settings: Settings,
    cgroup: CgroupRoot,
    readonly conntrackMax: number,
    readonly translationsMax: number,
    /** Entries that the policy table has room for. */
    readonly policyMax: number,
  ) {
    const { repairs: ledger, precedence } = this;
    const originals = {
      from_container: programs.fromContainer,
      to_container: programs.toContainer,
      leave_container: programs.leaveContainer,
      from_uplink: programs.fromUplink,
    };
    this.spares = new Spares(async (name) => {
      const original = originals[name];
      if (original === undefined) throw new AppError('INTERNAL', `program ${name} was not loaded`);
      return await loadCopy(name, original, settings, place.pins);
    });
    this.links = new LinkPins(place.pins.links, {
      ledger,
      precedence,
      spare: (name) => {
        const known = LINED_UP.find((one) => one === name);
        return known === undefined ? undefined : this.spares.get(known);
      },
    });
    const filters = new ClsactFilters(ledger, precedence);
    this.attachments = openAttachments(programs, this.links, filters);
    this.endpoints = new EndpointTable(programs.maps);
    this.policy = new PolicyTable(programs.maps, waitForPrograms);
    // Datagrams are to find another backend at once. What fails, the sweeps at intervals tell of.
    this.frontends = new FrontendTable(programs.maps, waitForPrograms, () => {
      this.sweeper.sweep().catch(() => undefined);
    });
    this.counters = new Counters(programs.maps);
    this.sweeper = new ConntrackSweeper(programs.conntrackSweep, programs.maps.sweep, programs.flush);
    this.connections = new ConnectionTable(programs.maps.conntrack, this.sweeper);
    this.explainer = new Explainer(settings, place.pins);
    this.sources = new SourceAddresses(programs.maps.sourceAddresses);
    this.uplinks = new UplinkHook(programs.fromUplink, programs.maps.uplinks, this.links, filters);
    this.socketHooks = new SocketHooks(programs.sockets, cgroup, this.links);
    const inbound = new InboundControl(programs.maps.inbound);
    this.xdp = new XdpHook(programs.uplinkXdp, inbound, this.links);
    this.deny = new DenyTable(programs.maps.deny, inbound);
  }

  /**
   * Loads programs and maps, or adopts the maps that are pinned. Touches no interface. ALREADY_RUNNING: another daemon
   * uses the pins; KERNEL_UNSUPPORTED. What it made is gone again when it throws.
   */
  static async open(settings: Settings): Promise<Datapath> {
    const place = takePlace(settings.bpffs_dir);
    try {
      const cgroup = findCgroupRoot(settings.cgroup_root);
      const programs = await loadPrograms(settings, place.pins, cgroup);
      const { conntrack, nat, policy } = programs.maps;
      return new Datapath(
        programs,
        place,
        settings,
        cgroup,
        conntrack.raw.info.maxEntries,
        nat.raw.info.maxEntries,
        policy.raw.info.maxEntries,
      );
    } catch (error) {
      leave(place);
      throw error;
    }
  }

  /** Gives up before anything was attached: as dispose, and what open() made is gone again. */
  async abandon(): Promise<void> {
    await this[Symbol.asyncDispose]();
    leave(this.place);
  }

  /** Sizes of maps that differ from the settings, because the maps are older. */
  get deferredSizes(): Programs['deferredSizes'] {
    return this.programs.deferredSizes;
  }

  /** Calls back with the programs' events, in batches. Once. */
  onEvents(listener: (events: Event[]) => void): void {
    this.ring = new RingBuffer(
      this.programs.maps.events,
      (records) =>
        listener(records.filter(({ length }) => length === Event.size).map((record) => Event.decode(record))),
      { maxQueued: EVENTS_QUEUED_MAX, deliverIntervalMs: EVENTS_INTERVAL_MS },
    );
  }

  /** Events by the cause that kept them from the listener. */
  lostEvents(): Record<'rate_limited' | 'ring_full' | 'queue_full', bigint> {
    const { rateLimited, ringFull } = this.counters.lostEvents();
    return { rate_limited: rateLimited, ring_full: ringFull, queue_full: BigInt(this.ring?.dropped ?? 0) };
  }

  /** Lets go of everything; programs stay attached and go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.ring?.close();
    await this.frontends.settled();
    await this.sweeper.stop();
    this.explainer[Symbol.dispose]();
    this.links[Symbol.dispose]();
    this.spares[Symbol.dispose]();
    this.programs[Symbol.dispose]();
    this.place.claim[Symbol.dispose]();
  }
}

/** The directory of the pins, as it was found. */
interface Place {
  directory: string;
  pins: PinDirectories;
  claim: Claim;
  /** No daemon has kept pins there before. */
  isNew: boolean;
}

function takePlace(directory: string): Place {
  const isNew = !existsSync(`${directory}/maps`);
  const pins = preparePins(directory);
  return { directory, pins, claim: Claim.take(directory, `the pins in ${directory}`), isNew };
}

function leave({ directory, pins, claim, isNew }: Place): void {
  if (isNew) removePins(directory, pins);
  claim[Symbol.dispose]();
}

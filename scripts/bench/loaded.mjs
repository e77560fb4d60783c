/** The programs, loaded with maps of their own: one container that sends, and rules that are written as they are. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { EndpointTable } from '../../dist/datapath/endpoint-table.js';
import { PolicyTable } from '../../dist/datapath/policy-table.js';
import { loadPrograms, preparePins } from '../../dist/datapath/programs.js';
import { parseCidr } from '../../dist/model/address.js';
import { loadSettings } from '../../dist/model/settings-load.js';
import { waitForPrograms } from '../../dist/native/rcu.js';
import { Netns } from '../../dist/netns/index.js';

export const NETWORK = 1;
/** One for all: so a frame is the same after the program has addressed it to the receiver, and can go again. */
export const MAC = '06:00:00:00:00:01';
const RANGES = ['198.18.0.0/16', 'fd00:be:1::/64'];
/** In struct __sk_buff. */
const CONTEXT = { size: 192, ifindex: 40 };
/** TC_ACT_SHOT. */
const DROPPED = 2;

export const TIER = { networkPolicy: 1, default: 3 };
export const ALLOW = { rule: 1, precedence: 0, verdict: 1 };

/** An endpoint as the programs see it; `at` numbers it. */
export function endpoint(at, ifindex, names = []) {
  return {
    ifindex,
    id: at + 1,
    networkId: NETWORK,
    identity: 256 + at,
    ip4: { address: address4(at), prefixLength: 16 },
    ip6: { address: `fd00:be:1::${(at + 2).toString(16)}`, prefixLength: 64 },
    mac: MAC,
    gatewayMac: MAC,
    multicast: false,
    broadcast: false,
    masquerade: false,
    takesFrames: false,
    bandwidth: {},
    namedPorts: names,
  };
}

export function address4(at) {
  return `198.18.${(at + 2) >> 8}.${(at + 2) & 255}`;
}

/** What the subject has rules for: port_bits by direction, and by family the lengths of ranges that it may send to. */
export function subject(identity, { egress = [], ingress = [], tier, ranges = {} }) {
  const bits = (of) => of.reduce((all, bit) => (all | (1 << bit)) >>> 0, 0);
  const lengths = (of, words) =>
    Array.from({ length: words }, (_, word) => bits(of.filter((length) => length >> 5 === word)));
  const portBits = [0, 0, 0, 0, 0, 0, 0, 0];
  portBits[2 * tier] = bits(egress);
  portBits[2 * tier + 1] = bits(ingress);
  const none = { portBits: [0, 0, 0, 0, 0, 0, 0, 0], isolated: 0 };
  const slot = {
    enforced: { portBits, isolated: 0 },
    audited: none,
    audits: 0,
    ranges: [
      { ip4: lengths(ranges[4] ?? [], 2), ip6: lengths(ranges[6] ?? [], 5) },
      { ip4: lengths([], 2), ip6: lengths([], 5) },
    ],
    present: 1,
  };
  return { identity, slot };
}

/**
 * Loads the programs; endpoints after the first are receivers that need no interface. The first has an interface of
 * a namespace of its own, if none is given.
 */
export async function load(cleanup, { receivers = [], change, ifindex }) {
  const directory = mkdtempSync(join(tmpdir(), 'quantum-bench-programs-'));
  const bpffs = `/sys/fs/bpf/${basename(directory)}`;
  cleanup.add(() => rmSync(directory, { recursive: true }));
  cleanup.add(() => rmSync(bpffs, { recursive: true, force: true }));
  const argv = ['--flows-per-endpoint=0'];
  const pins = preparePins(bpffs);
  const loaded = await loadPrograms(loadSettings({ argv, env: {}, readFile: () => '' }), pins);
  cleanup.add(() => loaded[Symbol.dispose]());
  const netns = Netns.create();
  cleanup.add(() => netns.close());
  netns.rtnl.createVeth({ name: 'host0', peerName: 'peer0' });
  const own = ifindex ?? netns.link('host0').index;

  const table = new EndpointTable(loaded.maps);
  for (const each of [endpoint(0, own), ...receivers]) table.put(each);
  for (const cidr of RANGES)
    table.putPrefix({ cidr: parseCidr(cidr), networkId: NETWORK, gateway: undefined });
  await new PolicyTable(loaded.maps, waitForPrograms).applyUnobserved({
    delete: [],
    ...change,
    subjects: { set: change.subjects, delete: [] },
    cidrs: { set: change.cidrs ?? [], delete: [] },
  });

  const context = new Uint8Array(CONTEXT.size);
  new DataView(context.buffer).setUint32(CONTEXT.ifindex, own, true);
  return {
    directory,
    loaded,
    pins,
    ifindex: own,
    /** Nanoseconds of one packet. */
    run(data, repeat) {
      const { returnValue, durationNs } = netns.run(() =>
        loaded.fromContainer.testRun({ data, context, repeat }),
      );
      if (returnValue === DROPPED) throw new Error('the program dropped the packet');
      return durationNs;
    },
  };
}

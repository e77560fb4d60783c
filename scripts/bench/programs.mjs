/**
 * What the program on the way of every packet costs by itself: one frame, run again and again in the kernel
 * (BPF_PROG_TEST_RUN), nothing delivered.
 */
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
import { Cleanup } from './cleanup.mjs';
import { TCP, tcpFrame } from './frames.mjs';
import { line } from './report.mjs';
import { median } from './statistics.mjs';

const PACKETS = 200_000;
const FLOWS = 4_000;
const NETWORK = 1;
const PORT = 80;
/** One for all: so the frame is the same after the program has addressed it to the receiver, and can go again. */
const MAC = '06:00:00:00:00:01';
const ADDRESSES = { 4: ['198.18.0.2', '198.18.0.3'], 6: ['fd00:be:1::2', 'fd00:be:1::3'] };
/** In struct __sk_buff. */
const CONTEXT = { size: 192, ifindex: 40 };
/** Verdict of the hook: redirected, that is delivered. */
const REDIRECTED = 7;

export function programs({ rounds }) {
  return Cleanup.during(async (cleanup) => {
    const run = await load(cleanup);
    return [4, 6].flatMap((family) => {
      const what = (flow) => `from_container, ${flow} flow, IPv${family}`;
      const opened = newFlows(run, family);
      const established = Array.from({ length: rounds }, () => run(segment(family, 1024, TCP.ACK), PACKETS));
      return [
        line({ part: 'programs', what: what('established'), unit: 'ns', ours: median(established) }),
        line({ part: 'programs', what: what('new'), unit: 'ns', ours: median(opened) }),
      ];
    });
  });
}

/** Each flow is new only once. The first one is the established one of later. */
function newFlows(run, family) {
  return Array.from({ length: FLOWS }, (_, at) => run(segment(family, 1024 + at, TCP.SYN), 1));
}

function segment(family, sourcePort, flags) {
  const [source, destination] = ADDRESSES[family];
  const payload = flags === TCP.SYN ? 0 : 64;
  return tcpFrame({ mac: MAC, source, destination, sourcePort, destinationPort: PORT, flags, payload });
}

/** Two endpoints and the rules that let one talk to the other; returns what runs a frame and tells ns per packet. */
async function load(cleanup) {
  const bpffs = `/sys/fs/bpf/${basename(mkdtempSync(join(tmpdir(), 'quantum-bench-programs-')))}`;
  cleanup.add(() => rmSync(join(tmpdir(), basename(bpffs)), { recursive: true }));
  cleanup.add(() => rmSync(bpffs, { recursive: true, force: true }));
  const settings = loadSettings({ argv: [], env: { QUANTUM_FLOWS_PER_ENDPOINT: '0' }, readFile: () => '' });
  const loaded = await loadPrograms(settings, preparePins(bpffs));
  cleanup.add(() => loaded[Symbol.dispose]());
  const netns = Netns.create();
  cleanup.add(() => netns.close());
  const ifindexes = [0, 1].map((at) => {
    netns.rtnl.createVeth({ name: `host${at}`, peerName: `peer${at}` });
    return netns.link(`host${at}`).index;
  });

  const table = new EndpointTable(loaded.maps);
  for (const at of [0, 1]) table.put(endpoint(at, ifindexes[at]));
  for (const cidr of ['198.18.0.0/24', 'fd00:be:1::/64']) {
    table.putPrefix({ cidr: parseCidr(cidr), networkId: NETWORK, gateway: undefined });
  }
  await new PolicyTable(loaded.maps, waitForPrograms).applyUnobserved(rules());

  const context = new Uint8Array(CONTEXT.size);
  new DataView(context.buffer).setUint32(CONTEXT.ifindex, ifindexes[0], true);
  return (data, repeat) => {
    const { returnValue, durationNs } = netns.run(() =>
      loaded.fromContainer.testRun({ data, context, repeat }),
    );
    if (returnValue !== REDIRECTED) throw new Error(`the program answered ${returnValue}`);
    return durationNs;
  };
}

function endpoint(at, ifindex) {
  return {
    ifindex,
    id: at + 1,
    networkId: NETWORK,
    identity: 256 + at,
    ip4: { address: ADDRESSES[4][at], prefixLength: 24 },
    ip6: { address: ADDRESSES[6][at], prefixLength: 64 },
    mac: MAC,
    gatewayMac: MAC,
    multicast: false,
    broadcast: false,
    masquerade: false,
  };
}

function rules() {
  const key = (subject, peer, direction) => ({
    subject,
    peer,
    direction,
    protocol: 6,
    portBits: 16,
    port: PORT,
  });
  const decision = { rule: 1, precedence: 1, verdict: 1 };
  const portBits = { egress: 1 << 16, ingress: 1 << 16 };
  return {
    set: [
      { key: key(256, 257, 0), decision },
      { key: key(257, 256, 1), decision },
    ],
    delete: [],
    subjects: { set: [256, 257].map((identity) => ({ identity, portBits })), delete: [] },
  };
}

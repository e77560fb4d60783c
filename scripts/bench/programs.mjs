/**
 * What the program on the way of every packet costs by itself: one frame, run again and again in the kernel
 * (BPF_PROG_TEST_RUN), nothing delivered.
 */
import { EndpointTable } from '../../dist/datapath/endpoint-table.js';
import { LinkPins } from '../../dist/datapath/hooks/link-pins.js';
import { UplinkHook } from '../../dist/datapath/hooks/uplink-hook.js';
import { Cleanup } from './cleanup.mjs';
import { loadCosts } from './costs.mjs';
import { TCP, tcpFrame } from './frames.mjs';
import { ALLOW, endpoint, load, MAC, subject, TIER } from './loaded.mjs';
import { line } from './report.mjs';
import { median } from './statistics.mjs';

const PACKETS = 200_000;
const FLOWS = 4_000;
const PORT = 80;
const ADDRESSES = { 4: ['198.18.0.2', '198.18.0.3'], 6: ['fd00:be:1::2', 'fd00:be:1::3'] };
/** The node's, and what those outside begin with: so many that hardly a port is taken. */
const NODE = { 4: '198.19.0.1', 6: 'fd00:be:9::1' };
const WORLD = { 4: '198.19.1.', 6: 'fd00:be:9::1:' };
const HOSTS = 200;
/** As in bpf/abi/policy.h. */
const IDENTITY_WORLD = 2;

export function programs({ rounds }) {
  return Cleanup.during(async (cleanup) => {
    const site = await load(cleanup, { receivers: [endpoint(1, 1000)], change: rules() });
    const { run, directory } = site;
    const opened = { 4: newFlows(run, 4), 6: newFlows(run, 6) };
    masquerade(site);
    const masqueraded = { 4: newFlows(run, 4, hostOutside(4)), 6: newFlows(run, 6, hostOutside(6)) };
    const part = await loadCosts(cleanup, directory, site, 1);
    const times = { 4: [], 6: [], conntrack: [], counter: [] };
    for (let round = 0; round < rounds; round++) {
      for (const family of [4, 6]) times[family].push(run(segment(family, 1024, TCP.ACK), PACKETS));
      const nothing = part('nothing');
      for (const name of ['conntrack', 'counter']) times[name].push(part(name) - nothing);
    }
    const about = { part: 'programs', unit: 'ns' };
    const established = median(times[4]);
    return [
      ...[4, 6].flatMap((family) => [
        line({
          ...about,
          what: `from_container, established flow, IPv${family}`,
          ours: median(times[family]),
        }),
        line({ ...about, what: `from_container, new flow, IPv${family}`, ours: median(opened[family]) }),
        line({
          ...about,
          what: `from_container, new masqueraded flow, IPv${family}`,
          ours: median(masqueraded[family]),
        }),
      ]),
      ...['conntrack', 'counter'].map((name) =>
        line({
          ...about,
          what: `of it the lookup of the ${name === 'counter' ? name : 'flow'}`,
          ours: median(times[name]),
          other: 'all of it, IPv4',
          theirs: established,
        }),
      ),
    ];
  });
}

/** From now on the container reaches the outside under the node's addresses. */
function masquerade({ pins, loaded, ifindex }) {
  const uplink = {
    ifindex,
    ip4: { address: NODE[4], prefixLength: 24, family: 4 },
    ip6: { address: NODE[6], prefixLength: 64, family: 6 },
  };
  new UplinkHook(loaded.fromUplink, loaded.maps.uplinks, new LinkPins(pins.links)).use([uplink]);
  new EndpointTable(loaded.maps).put({ ...endpoint(0, ifindex), masquerade: true });
}

/** Each flow is new only once. The first one is the established one of later. */
function newFlows(run, family, destination = () => ADDRESSES[family][1]) {
  return Array.from({ length: FLOWS }, (_, at) =>
    run(segment(family, 1024 + at, TCP.SYN, destination(at)), 1),
  );
}

function hostOutside(family) {
  return (at) => `${WORLD[family]}${(at % HOSTS) + 1}`;
}

function segment(family, sourcePort, flags, destination = ADDRESSES[family][1]) {
  const [source] = ADDRESSES[family];
  const payload = flags === TCP.SYN ? 0 : 64;
  return tcpFrame({ mac: MAC, source, destination, sourcePort, destinationPort: PORT, flags, payload });
}

/** The rules that let one talk to the other. */
function rules() {
  const key = (of, peer, direction) => ({
    subject: of,
    peer,
    direction,
    tier: TIER.networkPolicy,
    protocol: 6,
    portBits: 16,
    port: PORT,
  });
  return {
    set: [
      { key: key(256, 257, 0), decision: ALLOW },
      { key: key(257, 256, 1), decision: ALLOW },
      { key: key(256, IDENTITY_WORLD, 0), decision: ALLOW },
    ],
    subjects: [256, 257].map((identity) =>
      subject(identity, { egress: [16], ingress: [16], tier: TIER.networkPolicy }),
    ),
  };
}

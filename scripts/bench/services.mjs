/**
 * New connections from a container to services, by the number of services: each datagram goes to another one. Beside
 * nftables, whose services are one map, and one rule each as a proxy of old writes them. Ours go to another container,
 * and are judged; theirs go on to a host outside, and are not.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EndpointTable } from '../../dist/datapath/endpoint-table.js';
import { FrontendTable } from '../../dist/datapath/frontend-table.js';
import { parseCidr } from '../../dist/model/address.js';
import { waitForPrograms } from '../../dist/native/rcu.js';
import { Netns } from '../../dist/netns/index.js';
import { Cleanup } from './cleanup.mjs';
import { ALLOW, endpoint, load, subject, TIER } from './loaded.mjs';
import { attach, nftNode, node, requireDelivery, sender } from './nftables.mjs';
import { compile } from './processes.mjs';
import { line } from './report.mjs';
import { median } from './statistics.mjs';

/** flows.c sends to twelve addresses for each of these. */
const [FEW, MANY] = [1, 834];
const PER_DOZEN = 12;
const FLOWS = 1000;
/** Of one rule for each service: a datagram asks half of them. */
const FLOWS_PLAIN = 100;
const PORT = 443;
const TARGET = 8443;
const BACKEND = '198.19.0.2';

/** How many services there are, and how many of them are asked, in turn. */
const CASES = {
  few: { present: FEW, asked: FEW },
  someOfMany: { present: MANY, asked: FEW },
  many: { present: MANY, asked: MANY },
};
const KINDS = {
  ours: (cleanup, served) => ourNode(cleanup, served),
  map: (cleanup, served, path) => nftNode(cleanup, path, asMap(served)),
  rules: (cleanup, served, path) => nftNode(cleanup, path, asRules(served)),
};

/** What grows with the number of services, and what with the number of those in use, whose memory is cold. */
export async function services({ rounds }) {
  const { ours, map, rules } = await measure(rounds);
  const [few, many] = [FEW, MANY].map((dozens) => `${dozens * PER_DOZEN} services`);
  const about = { part: 'services', unit: 'ns' };
  const toFew = { ...about, other: few };
  return [
    line({ ...about, what: `new flow, ${few}`, ours: ours.few, other: 'a map', theirs: map.few }),
    line({ ...about, what: `new flow, ${few}`, ours: ours.few, other: 'rules', theirs: rules.few }),
    line({ ...about, what: `new flow, ${many} in turn`, ours: ours.many, other: 'a map', theirs: map.many }),
    line({
      ...about,
      what: `new flow, ${many} in turn`,
      ours: ours.many,
      other: 'rules',
      theirs: rules.many,
    }),
    line({ ...toFew, what: `new flow, ${many}`, ours: ours.someOfMany, theirs: ours.few, goal: '<= 1.2' }),
    line({ ...toFew, what: `new flow, ${many} in turn`, ours: ours.many, theirs: ours.few }),
    line({ ...toFew, what: `the map, ${many}`, ours: map.someOfMany, theirs: map.few }),
    line({ ...toFew, what: `the map, ${many} in turn`, ours: map.many, theirs: map.few }),
  ];
}

/** Median nanoseconds of a new flow, by kind and case; all of them in turns. */
function measure(rounds) {
  return Cleanup.during(async (cleanup) => {
    const directory = mkdtempSync(join(tmpdir(), 'quantum-bench-services-'));
    cleanup.add(() => rmSync(directory, { recursive: true }));
    const program = compile('flows', directory);
    const runs = [];
    for (const [kind, make] of Object.entries(KINDS)) {
      for (const [name, { present, asked }] of Object.entries(CASES)) {
        const site = await make(cleanup, addresses(present), join(directory, `${kind}-${name}`));
        const send = await sender(cleanup, program, site, asked);
        const flows = kind === 'rules' && present > FEW ? FLOWS_PLAIN : FLOWS;
        runs.push({ kind, name, site, send, flows, times: [] });
      }
    }
    let first = 0;
    for (let round = 0; round <= 3 * rounds; round++) {
      for (const { send, flows, times } of runs) {
        const ns = await send(flows, first);
        if (round > 0) times.push(ns);
      }
      first += FLOWS;
    }
    const medians = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, {}]));
    for (const { kind, name, site, times } of runs) {
      requireDelivery(`${kind}, ${name}`, site);
      medians[kind][name] = median(times);
    }
    return medians;
  });
}

/** As flows.c numbers them. */
function addresses(dozens) {
  return Array.from({ length: dozens * PER_DOZEN }, (_, at) => {
    const number = 16 * Math.floor(at / PER_DOZEN) + 4 + (at % PER_DOZEN);
    return `20.${number >> 16}.${(number >> 8) & 255}.${number & 255}`;
  });
}

async function ourNode(cleanup, served) {
  const host = Netns.create();
  const made = node(cleanup, host);
  const receiver = endpoint(1, host.link('out').index);
  const { loaded } = await load(cleanup, {
    change: rules(receiver.identity),
    receivers: [receiver],
    ifindex: host.link('in').index,
  });
  const table = new EndpointTable(loaded.maps);
  for (const address of served)
    table.putPrefix({ cidr: parseCidr(`${address}/32`), networkId: 'service', gateway: undefined });
  await new FrontendTable(loaded.maps, waitForPrograms, () => {}).sync(
    served.map((address, at) => ({
      protocol: 'UDP',
      port: PORT,
      family: 4,
      address,
      id: at + 1,
      affinitySeconds: 0,
      isServiceAddress: true,
      backends: [{ address: receiver.ip4.address, port: TARGET }],
    })),
  );
  attach(cleanup, host, loaded);
  return made;
}

/** The sender may send to the receiver, and that may receive. */
function rules(identity) {
  const key = (of, peer, direction) => ({
    subject: of,
    peer,
    direction,
    tier: TIER.networkPolicy,
    protocol: 17,
    portBits: 16,
    port: TARGET,
  });
  const sending = endpoint(0, 0).identity;
  return {
    set: [
      { key: key(sending, identity, 0), decision: ALLOW },
      { key: key(identity, sending, 1), decision: ALLOW },
    ],
    subjects: [sending, identity].map((of) =>
      subject(of, { egress: [16], ingress: [16], tier: TIER.networkPolicy }),
    ),
  };
}

function asMap(served) {
  const elements = served.map((address) => `${address} . ${PORT} : ${BACKEND} . ${TARGET}`);
  return ruleset(
    `map services { type ipv4_addr . inet_service : ipv4_addr . inet_service; elements = { ${elements.join(', ')} }; }`,
    ['dnat ip to ip daddr . udp dport map @services'],
  );
}

function asRules(served) {
  return ruleset(
    '',
    served.map((address) => `ip daddr ${address} udp dport ${PORT} dnat to ${BACKEND}:${TARGET}`),
  );
}

function ruleset(map, lines) {
  return `table ip bench {
    ${map}
    chain prerouting {
      type nat hook prerouting priority dstnat;
      ${lines.join('\n      ')}
    }
  }`;
}

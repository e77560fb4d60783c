/**
 * Packets of one open connection from outside to a port of the node that leads to a container, on one core: by
 * uplink_xdp, and by nftables (DNAT and connection tracking) on the same topology. The frames are those of a driver
 * (BPF_PROG_TEST_RUN's live frames): nobody has made packets of the kernel's of them before. Each arrives in the
 * container, where it is counted, and dropped at its interface (the node's part alone) or in its stack.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConntrackFlags, MAPS } from '../../dist/datapath/abi/generated.js';
import { EndpointTable } from '../../dist/datapath/endpoint-table.js';
import { loadPrograms, preparePins } from '../../dist/datapath/programs.js';
import { parseAddress, toBytes16 } from '../../dist/model/address.js';
import { loadSettings } from '../../dist/model/settings-load.js';
import { BpfLink, BpfMap, BpfObject, LIVE_FRAMES, monotonicNs } from '../../dist/native/bpf.js';
import { createVethPair, Netns } from '../../dist/netns/index.js';
import { Cleanup } from './cleanup.mjs';
import { udpFrame } from './frames.mjs';
import { line } from './report.mjs';
import { median } from './statistics.mjs';

const SOURCE = fileURLToPath(new URL('xdp.bpf.c', import.meta.url));
const FRAMES = 400_000;
/** As in xdp.bpf.c. */
const HEADERS_BYTES = 62;
const UDP = 17;
const MAC = '06:00:00:00:00:01';
const GATEWAY_MAC = '06:00:00:00:00:02';
const FAMILIES = {
  4: {
    client: '198.19.0.2',
    node: '198.19.0.1',
    container: '198.18.0.2',
    gateway: '198.18.0.1',
    bits: [24, 16],
  },
  6: {
    client: 'fd00:be:9::2',
    node: 'fd00:be:9::1',
    container: 'fd00:be:1::2',
    gateway: 'fd00:be:1::1',
    bits: [64, 64],
  },
};
/** What is asked for each end. */
const ENDS = { interface: { goal: '>= 3' }, stack: {} };
const PORTS = { client: 40000, node: 80, container: 8080 };

export function xdp({ rounds }) {
  return Cleanup.during(async (cleanup) => {
    const directory = mkdtempSync(join(tmpdir(), 'quantum-bench-xdp-'));
    cleanup.add(() => rmSync(directory, { recursive: true }));
    const lines = [];
    const path = compile(directory);
    for (const family of [4, 6]) {
      for (const end of Object.keys(ENDS)) {
        const about = { family, end, rounds };
        lines.push(await Cleanup.during((inner) => measure(inner, path, directory, about)));
      }
    }
    return lines;
  });
}

async function measure(cleanup, path, directory, { family, end, rounds }) {
  const bpffs = `/sys/fs/bpf/${basename(directory)}-${family}-${end}`;
  cleanup.add(() => rmSync(bpffs, { recursive: true, force: true }));
  const pins = preparePins(bpffs);
  const loaded = await loadPrograms(loadSettings({ argv: [], env: {}, readFile: () => '' }), pins);
  cleanup.add(() => loaded[Symbol.dispose]());
  const frame = frameOf(family);
  const programs = await loadHelpers(cleanup, path, pins, frame);
  const ours = node(cleanup, programs, family, end);
  prepareOurs(cleanup, ours, loaded, pins, family);
  const theirs = node(cleanup, programs, family, end);
  prepareNftables(theirs, join(directory, `ruleset${family}-${end}`), family);
  const senders = {
    ours: sender(ours, programs.forward, frame),
    nftables: sender(theirs, programs.pass, frame),
  };
  const rates = { ours: [], nftables: [] };
  for (let round = 0; round <= rounds; round++) {
    for (const [name, send] of Object.entries(senders)) {
      const rate = send();
      if (round > 0) rates[name].push(rate);
    }
  }
  return line({
    part: 'xdp',
    what: `forwarding to a container's ${end}, IPv${family}, one core`,
    unit: 'packets/s',
    ours: median(rates.ours),
    other: 'nftables',
    theirs: median(rates.nftables),
    ...ENDS[end],
  });
}

function compile(directory) {
  const path = join(directory, 'xdp.bpf.o');
  const include = `/usr/include/${execFileSync('gcc', ['-print-multiarch'], { encoding: 'utf8' }).trim()}`;
  execFileSync('clang', [
    ...['-std=gnu11', '-O2', '-g', '-target', 'bpf', '-mcpu=v3', '-Wall', '-Wextra', '-Werror'],
    ...['-isystem', include, '-c', SOURCE, '-o', path],
  ]);
  return path;
}

async function loadHelpers(cleanup, path, pins, frame) {
  const object = BpfObject.open(path);
  cleanup.add(() => object.close());
  for (const map of object.mapNames) {
    if (!existsSync(join(pins.maps, map))) continue;
    const pinned = BpfMap.fromPin(join(pins.maps, map));
    object.setMaxEntries(map, pinned.info.maxEntries);
    pinned.close();
  }
  object.setVariable('headers', frame.subarray(0, HEADERS_BYTES));
  await object.load({ pinRoot: pins.maps });
  const names = ['forward', 'pass', 'drop', 'drop_packet'];
  const [forward, pass, drop, dropPacket] = names.map((name) => object.program(`bench_${name}`));
  cleanup.add(() => {
    for (const program of [forward, pass, drop, dropPacket]) program.close();
  });
  return { forward, pass, drop, dropPacket };
}

/** A node with an uplink and a container, which drops what it gets. */
function node(cleanup, { drop, dropPacket }, family, end) {
  const { client, node: own, container, gateway, bits } = FAMILIES[family];
  const [host, outside, inside] = [Netns.create(), Netns.create(), Netns.create()];
  cleanup.add(() => {
    for (const each of [inside, outside, host]) each.close();
  });
  for (const net of [host, inside, outside])
    net.run(() => writeFileSync('/proc/sys/net/ipv6/conf/default/accept_dad', '0'));
  createVethPair(
    { netns: host, name: 'uplink', mac: GATEWAY_MAC, addresses: [`${own}/${bits[0]}`] },
    { netns: outside, name: 'eth0', addresses: [`${client}/${bits[0]}`] },
  );
  createVethPair(
    { netns: host, name: 'in', mac: GATEWAY_MAC, addresses: [`${gateway}/${bits[1]}`] },
    { netns: inside, name: 'eth0', mac: MAC, addresses: [`${container}/${bits[1]}`] },
  );
  const index = host.link('in').index;
  host.rtnl.setNeighbour({ index, address: container, mac: MAC, permanent: true });
  const link = inside.run(() =>
    end === 'interface'
      ? BpfLink.attachXdp({ program: drop, ifindex: inside.link('eth0').index })
      : BpfLink.attachTcx({ program: dropPacket, ifindex: inside.link('eth0').index, direction: 'ingress' }),
  );
  cleanup.add(() => link.close());
  return { host, inside };
}

function frameOf(family) {
  const { client, node: own } = FAMILIES[family];
  const frame = udpFrame({
    mac: GATEWAY_MAC,
    source: client,
    destination: own,
    sourcePort: PORTS.client,
    destinationPort: PORTS.node,
    payload: 22,
  });
  seal(frame, family);
  return frame;
}

/** What sends, and tells packets that arrived in a second. */
function sender({ host, inside }, program, data) {
  const context = new Uint8Array(24);
  const view = new DataView(context.buffer);
  view.setUint32(4, data.length, true);
  view.setUint32(12, host.link('uplink').index, true);
  return () => {
    const before = received(inside);
    const began = monotonicNs();
    host.run(() => program.testRun({ data, context, repeat: FRAMES, flags: LIVE_FRAMES }));
    const seconds = Number(monotonicNs() - began) / 1e9;
    const arrived = received(inside) - before;
    if (arrived < FRAMES * 0.98) throw new Error(`of ${FRAMES} packets ${arrived} arrived`);
    return arrived / seconds;
  };
}

/** Sets the checksums right: nftables looks at them. */
function seal(frame, family) {
  const header = family === 4 ? 20 : 40;
  const sum = (bytes, start = 0) => {
    let total = start;
    for (let at = 0; at < bytes.length; at += 2) total += (bytes[at] << 8) | (bytes[at + 1] ?? 0);
    while (total > 0xffff) total = (total & 0xffff) + (total >> 16);
    return total;
  };
  if (family === 4) frame.writeUInt16BE(~sum(frame.subarray(14, 34)) & 0xffff, 24);
  const addresses = family === 4 ? frame.subarray(26, 34) : frame.subarray(22, 54);
  const transport = frame.subarray(14 + header);
  const pseudo = sum(addresses, UDP + transport.length);
  transport.writeUInt16BE(~sum(transport, pseudo) & 0xffff || 0xffff, 6);
}

function received(netns) {
  const text = netns.run(() => execFileSync('cat', ['/proc/net/dev'], { encoding: 'utf8' }));
  return Number(/^\s*eth0:\s*(.*)$/m.exec(text)[1].split(/\s+/)[1]);
}

function prepareNftables({ host }, path, family) {
  const { container } = FAMILIES[family];
  const table = family === 4 ? 'ip' : 'ip6';
  const to = family === 4 ? `${container}:${PORTS.container}` : `[${container}]:${PORTS.container}`;
  writeFileSync(
    path,
    `table ${table} bench {
      chain prerouting {
        type nat hook prerouting priority dstnat;
        udp dport ${PORTS.node} dnat to ${to}
      }
      chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        ct status dnat accept
      }
    }`,
  );
  host.run(() => {
    writeFileSync(
      family === 4 ? '/proc/sys/net/ipv4/ip_forward' : '/proc/sys/net/ipv6/conf/all/forwarding',
      '1',
    );
    execFileSync('nft', ['-f', path]);
  });
}

function prepareOurs(cleanup, { host, inside }, loaded, pins, family) {
  const ifindex = host.link('in').index;
  inside.handle.setGro('eth0', true);
  const { container, bits } = FAMILIES[family];
  const address = { address: container, prefixLength: bits[1] };
  new EndpointTable(loaded.maps).put({
    ifindex,
    id: 1,
    networkId: 1,
    identity: 256,
    ip4: family === 4 ? address : undefined,
    ip6: family === 6 ? address : undefined,
    mac: MAC,
    gatewayMac: GATEWAY_MAC,
    multicast: false,
    broadcast: false,
    masquerade: false,
    takesFrames: true,
    bandwidth: {},
    namedPorts: [],
  });
  openFlow(cleanup, loaded, pins, ifindex, family);
}

/** As from_uplink leaves it when the container has answered. */
function openFlow(cleanup, loaded, pins, ifindex, family) {
  const bytes = (text) => toBytes16(parseAddress(text));
  const { client, node: own, container } = FAMILIES[family];
  const [clientAddress, containerAddress] = [bytes(client), bytes(container)];
  // In the order of lib/packet.h: the last word that differs decides, as a number of this machine.
  const word = (address) => new DataView(address.buffer, address.byteOffset).getUint32(12, true);
  const other = (address) => new DataView(address.buffer, address.byteOffset).getUint32(4, true);
  const isClientB =
    word(containerAddress) === word(clientAddress)
      ? other(containerAddress) < other(clientAddress)
      : word(containerAddress) < word(clientAddress);
  const ends = [
    { address: containerAddress, port: PORTS.container },
    { address: clientAddress, port: PORTS.client },
  ];
  const [a, b] = isClientB ? ends : ends.toReversed();
  const key = {
    addressA: a.address,
    addressB: b.address,
    portA: a.port,
    portB: b.port,
    scope: 0,
    protocol: UDP,
  };
  const nonce = 1;
  loaded.maps.conntrack.set(key, {
    key,
    flags:
      (isClientB ? ConntrackFlags.OPENER_IS_B : 0) | ConntrackFlags.REPLIED | ConntrackFlags.NAMED_RESPONDER,
    expiresNs: monotonicNs() + 3_600_000_000_000n,
    endpointId: [0, 1],
    ifindex: [0, ifindex],
    rule: [0, 0],
    natAddress: bytes(own),
    natPort: PORTS.node,
    backend: 0,
    epoch: loaded.maps.control.get(0)?.policyEpoch ?? 0,
    nonce,
    sequence: 0,
  });
  const map = BpfMap.fromPin(join(pins.maps, 'qn_nat'));
  cleanup.add(() => map.close());
  const alias = {
    remote: clientAddress,
    local: bytes(own),
    remotePort: PORTS.client,
    localPort: PORTS.node,
    protocol: UDP,
  };
  map.set(MAPS.qn_nat.key.encode(alias), MAPS.qn_nat.value.encode({ key: alias, flow: key, nonce }));
}

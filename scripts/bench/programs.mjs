/**
 * What the program on the way of every packet costs by itself: one frame, run again and again in the kernel
 * (BPF_PROG_TEST_RUN), nothing delivered.
 */
import { Cleanup } from './cleanup.mjs';
import { TCP, tcpFrame } from './frames.mjs';
import { ALLOW, endpoint, load, MAC, subject, TIER } from './loaded.mjs';
import { line } from './report.mjs';
import { median } from './statistics.mjs';

const PACKETS = 200_000;
const FLOWS = 4_000;
const PORT = 80;
const ADDRESSES = { 4: ['198.18.0.2', '198.18.0.3'], 6: ['fd00:be:1::2', 'fd00:be:1::3'] };

export function programs({ rounds }) {
  return Cleanup.during(async (cleanup) => {
    const { run } = await load(cleanup, { receivers: [endpoint(1, 1000)], change: rules() });
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
    ],
    subjects: [256, 257].map((identity) =>
      subject(identity, { egress: [16], ingress: [16], tier: TIER.networkPolicy }),
    ),
  };
}

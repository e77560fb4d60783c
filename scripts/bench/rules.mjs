/** As many rules of one container as one likes, in the three forms that they have, and packets that they let pass. */
import { addressBits, parseCidr } from '../../dist/model/address.js';
import { ALLOW, address4, endpoint, subject, TIER } from './loaded.mjs';

export const SENDER = 256;
export const PORT = 443;
const EGRESS = 0;
const INGRESS = 1;
const CIDR_FLAG = 0x60000000;
const NAMED = 17;
/** Receivers that there really are, spread over all that the rules name: as many, however many rules there are. */
const RECEIVERS = 10;
const UDP = 17;

/** Names that ports of receivers have; a rule names one of them. */
const NAMES = 1000;

export const KINDS = {
  'identities and ports': (count) => toReceivers(count, () => ({ portBits: 16, port: PORT }), [16]),
  'names of ports': (count) => toReceivers(count, (at) => ({ portBits: NAMED, port: nameOf(at) }), [NAMED]),
  'ranges with an exception, ten of them in use': (count) => toRanges(count, RECEIVERS),
  'ranges with an exception, all in use': (count) => toRanges(count, count),
};

function nameOf(at) {
  return 1 + (at % NAMES);
}

/** Rule n: the n-th identity may be sent to. */
function toReceivers(count, match, forms) {
  const step = Math.max(1, Math.floor(count / RECEIVERS));
  const present = Array.from({ length: Math.min(count, RECEIVERS) }, (_, at) => at * step);
  const receivers = present.map((at, index) => ({
    ...endpoint(index + 1, 1000 + index, [{ protocol: 17, port: PORT, names: [nameOf(at)] }]),
    identity: identityOf(at),
  }));
  const change = {
    set: [
      ...Array.from({ length: count }, (_, at) => rule(identityOf(at), match(at))),
      ...receivers.map(({ identity }) => ({
        key: {
          ...keyOf(identity, SENDER),
          direction: INGRESS,
          tier: TIER.default,
          protocol: 0,
          portBits: 0,
          port: 0,
        },
        decision: ALLOW,
      })),
    ],
    subjects: [
      subject(SENDER, { egress: forms, tier: TIER.networkPolicy }),
      ...receivers.map(({ identity }) => subject(identity, { ingress: [0], tier: TIER.default })),
    ],
  };
  return { change, receivers, destination: (flow) => address4(1 + (flow % receivers.length)) };
}

function identityOf(at) {
  return 1000 + at;
}

/** Rule n: 16 addresses may be sent to, but for the first four. `used`: how many of them packets go to. */
function toRanges(count, used) {
  const cidrs = [];
  const set = [];
  for (let at = 0; at < count; at++) {
    const base = rangeBase(at);
    for (const [length, cidrClass] of [
      [28, 2 * at + 1],
      [30, 2 * at + 2],
    ]) {
      cidrs.push({ subject: SENDER, direction: EGRESS, cidr: parseCidr(`${base}/${length}`), cidrClass });
    }
    set.push(rule(CIDR_FLAG | (2 * at + 1), { portBits: 16, port: PORT }));
  }
  const subjects = [subject(SENDER, { egress: [16], tier: TIER.networkPolicy, ranges: { 4: [28, 30] } })];
  const destination = (flow) => {
    const at = ((Math.imul(flow, 2654435761) >>> 0) % used) * Math.floor(count / used);
    return rangeBase(at, 4 + (flow % 12));
  };
  return { change: { set, subjects, cidrs }, receivers: [], destination };
}

/** Ranges of the lengths 0 to `longest`, one inside the other, and packets to addresses that only the widest holds. */
export function nested(family, longest) {
  const base = family === 4 ? '20.0.0.0' : '7d01::';
  const cidrs = Array.from({ length: longest + 1 }, (_, length) => ({
    subject: SENDER,
    direction: EGRESS,
    cidr: parseCidr(`${base}/${length}`, 'mask'),
    cidrClass: 1 + length,
  }));
  const set = [rule(CIDR_FLAG | 1, { portBits: 16, port: PORT })];
  const ranges = { [family]: cidrs.map(({ cidr }) => cidr.prefixLength) };
  const subjects = [subject(SENDER, { egress: [16], tier: TIER.networkPolicy, ranges })];
  const destination = (flow) =>
    family === 4 ? `148.0.${(flow >> 8) & 255}.${flow & 255}` : `fd01::${(flow & 0xffff).toString(16)}`;
  return { change: { set, subjects, cidrs }, receivers: [], destination };
}

/** How many lengths there are. */
export function lengthsOf(family) {
  return addressBits(family) + 1;
}

/** Nothing but as many subjects. */
export function subjectsAlone(count) {
  const subjects = Array.from({ length: count }, (_, at) =>
    subject(identityOf(at), { ingress: [0], tier: TIER.default }),
  );
  return { change: { set: [], subjects }, receivers: [] };
}

/** An address of the range that rule `at` lets pass; as in flows.c. */
export function rangeBase(at, offset = 0) {
  const address = 0x14000000 + 16 * at + offset;
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

function rule(peer, match) {
  return {
    key: { ...keyOf(SENDER, peer), direction: EGRESS, tier: TIER.networkPolicy, ...match },
    decision: ALLOW,
  };
}

function keyOf(of, peer) {
  return { subject: of, peer, protocol: UDP };
}

/** What a program is told of a packet beside its bytes, as BPF_PROG_TEST_RUN takes it: struct __sk_buff, struct xdp_md. */
import type { Passage } from './outcome.js';

/** Offsets in struct __sk_buff of what BPF_PROG_TEST_RUN takes. */
const SK_BUFF_SIZE = 192;
const MARK = 8;
const INGRESS_IFINDEX = 36;
const IFINDEX = 40;
const DEPARTURE = 152;
const WIRE_LENGTH = 160;
const GSO_SIZE = 176;
const CB = 48;

/** The same of struct xdp_md. */
const XDP_MD_SIZE = 24;
const XDP_DATA_END = 4;
const XDP_INGRESS_IFINDEX = 12;

/** The context of a run: where the packet is, and where it came in. */
export function skBuff({
  ifindex = 0,
  ingressIfindex = 0,
  mark = 0,
  cb = [],
  gsoSize = 0,
  wireLength = 0,
  departureNs = 0n,
}: Partial<Passage> & {
  cb?: readonly number[];
  gsoSize?: number;
  wireLength?: number;
  departureNs?: bigint;
}): Uint8Array {
  const context = new Uint8Array(SK_BUFF_SIZE);
  const view = new DataView(context.buffer);
  view.setUint32(MARK, mark, true);
  view.setUint32(IFINDEX, ifindex, true);
  view.setUint32(INGRESS_IFINDEX, ingressIfindex, true);
  view.setUint32(GSO_SIZE, gsoSize, true);
  view.setUint32(WIRE_LENGTH, wireLength, true);
  view.setBigUint64(DEPARTURE, departureNs, true);
  cb.forEach((word, at) => {
    view.setUint32(CB + 4 * at, word, true);
  });
  return context;
}

/** The time (CLOCK_MONOTONIC) at which a frame is to leave, of the context that came back; 0: any. */
export function departureOf(context: Uint8Array): bigint {
  return new DataView(context.buffer, context.byteOffset).getBigUint64(DEPARTURE, true);
}

/** The context of a run of uplink_xdp: struct xdp_md. */
export function xdpMd(length: number, ifindex: number): Uint8Array {
  const context = new Uint8Array(XDP_MD_SIZE);
  const view = new DataView(context.buffer);
  view.setUint32(XDP_DATA_END, length, true);
  view.setUint32(XDP_INGRESS_IFINDEX, ifindex, true);
  return context;
}

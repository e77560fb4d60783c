/** Where links are, and who stands before them there. */
import { AttachType, type LinkInfo, LinkType, type TcxEntry, tcxLine } from '../../native/bpf.js';
import { KernelError } from '../../native/errors.js';
import { type Predecessor, predecessorsOf } from './repair-ledger.js';

/** Where a link is, in the kernel's words. */
export type Place = Pick<LinkInfo, 'type' | 'ifindex' | 'cgroupId' | 'attachType'>;

export function isAt(found: LinkInfo, place: Place): boolean {
  return (
    isAttached(found) &&
    found.type === place.type &&
    found.attachType === place.attachType &&
    found.ifindex === place.ifindex &&
    found.cgroupId === place.cgroupId
  );
}

/** Of an interface or a cgroup that is gone, or after somebody has ended it, it has neither. */
export function isAttached({ ifindex = 0, cgroupId = 0 }: Pick<Place, 'ifindex' | 'cgroupId'>): boolean {
  return ifindex !== 0 || cgroupId !== 0;
}

/** Of an interface that is not here, or a place that is on none: empty. */
export function lineOf({ type, ifindex = 0, attachType }: Place): TcxEntry[] {
  try {
    return type !== LinkType.TCX || ifindex === 0 ? [] : tcxLine(ifindex, directionOf(attachType));
  } catch (error) {
    if (error instanceof KernelError && error.code === 'ENODEV') return [];
    throw error;
  }
}

/** Programs of others that run before that of the link; none where there is but one, or the link has ended. */
export function predecessors(info: LinkInfo): Predecessor[] {
  return before(info.id, lineOf(info));
}

/** Those of the line that stand before the link. */
export function before(linkId: number, line: readonly TcxEntry[]): Predecessor[] {
  const at = line.findIndex((one) => one.linkId === linkId);
  return at <= 0 ? [] : predecessorsOf(line.slice(0, at).map(({ programId }) => programId));
}

function directionOf(attachType: number | undefined): 'ingress' | 'egress' {
  return attachType === AttachType.TCX_INGRESS ? 'ingress' : 'egress';
}

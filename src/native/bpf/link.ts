import { KernelError } from '../errors.js';
import { Closable } from './closable.js';
import { type LinkHandle, type LinkInfo, native } from './functions.js';
import { BpfProgram, programName } from './program.js';

/** enum bpf_link_type of the kernel, as far as it is used here. */
export const LinkType = { CGROUP: 3, XDP: 6, TCX: 11 } as const;
/** enum bpf_attach_type of the kernel, as far as it is used here. */
export const AttachType = {
  CGROUP_INET4_CONNECT: 10,
  CGROUP_INET6_CONNECT: 11,
  CGROUP_UDP4_SENDMSG: 14,
  CGROUP_UDP6_SENDMSG: 15,
  CGROUP_UDP4_RECVMSG: 19,
  CGROUP_UDP6_RECVMSG: 20,
  CGROUP_INET4_GETPEERNAME: 29,
  CGROUP_INET6_GETPEERNAME: 30,
  XDP: 37,
  TCX_INGRESS: 46,
  TCX_EGRESS: 47,
} as const;

export type Direction = 'ingress' | 'egress';

export interface TcxOptions {
  program: BpfProgram;
  /** In the network namespace of the calling thread. */
  ifindex: number;
  direction: Direction;
  /** Among the other programs there; default last. */
  position?: 'first' | 'last';
}

export interface XdpOptions {
  program: BpfProgram;
  /** In the network namespace of the calling thread. */
  ifindex: number;
  /** `native` runs in the driver, which must know XDP. Default native. */
  mode?: 'generic' | 'native';
}

export interface CgroupOptions {
  program: BpfProgram;
  /** Directory of the cgroup (version 2). */
  path: string;
  attachType: number;
}

/** What the kernel says of a path where no link is pinned. */
const NO_LINK = new Set(['ENOENT', 'ENOTDIR', 'EINVAL', 'EACCES']);

/** A program attached to an interface or a cgroup for as long as the link is open or pinned. */
export class BpfLink extends Closable<LinkHandle> {
  /** @throws KernelError EINVAL when the pin is something else, EACCES when there is no pin but a directory, ENOENT. */
  static fromPin(path: string): BpfLink {
    return new BpfLink(native.linkFromPin(path));
  }

  /** The pinned link; undefined when there is none, or something else in its place. */
  static openPin(path: string): BpfLink | undefined {
    try {
      return BpfLink.fromPin(path);
    } catch (error) {
      if (error instanceof KernelError && NO_LINK.has(error.code)) return undefined;
      throw error;
    }
  }

  /**
   * @throws KernelError EOPNOTSUPP on kernels before 6.6, EEXIST when the program is there already, ENODEV.
   */
  static attachTcx({ program, ifindex, direction, position = 'last' }: TcxOptions): BpfLink {
    const handle = BpfProgram.handleOf(program);
    return new BpfLink(native.linkAttachTcx(handle, ifindex, direction === 'ingress', position));
  }

  /**
   * @throws KernelError EBUSY when there is an XDP program already, EOPNOTSUPP when the driver has no native
   * XDP.
   */
  static attachXdp({ program, ifindex, mode = 'native' }: XdpOptions): BpfLink {
    return new BpfLink(native.linkAttachXdp(BpfProgram.handleOf(program), ifindex, mode === 'generic'));
  }

  /**
   * Beside the programs that are there, and behind them.
   * @throws KernelError ENOENT; EBADF when the path is no cgroup of version 2; EINVAL when the program is for another
   * attach type; EPERM when there is one that suffers no other.
   */
  static attachCgroup({ program, path, attachType }: CgroupOptions): BpfLink {
    return new BpfLink(native.linkAttachCgroup(BpfProgram.handleOf(program), path, attachType));
  }

  info(): LinkInfo {
    return native.linkInfo(this.handle);
  }

  /** @throws KernelError EEXIST when there is something at the path. */
  pin(path: string): void {
    native.pin(this.handle, path);
  }

  /** Removes the pin at the path. @returns false when there was none. */
  unpin(path: string): boolean {
    return native.unpin(path);
  }

  /**
   * Replaces the program in place: each packet meets the old one or the new one.
   * @throws KernelError ENOLINK when detached.
   */
  update(program: BpfProgram): void {
    native.linkUpdate(this.handle, BpfProgram.handleOf(program));
  }

  /**
   * Ends the attachment now, whoever else has the link open or pinned. The link stays, without an interface.
   */
  detach(): void {
    native.linkDetach(this.handle);
  }
}

let tcx: boolean | undefined;

/** Whether the kernel has TCX links (6.6 and up). Asked once. */
export function tcxSupported(): boolean {
  tcx ??= native.tcxSupported();
  return tcx;
}

/** What runs on a hook: `linkId` 0: attached without a link. */
export interface TcxEntry {
  programId: number;
  linkId: number;
}

/**
 * Whoever's programs on a TCX hook, in the order in which they run; none on kernels before 6.6. The interface is one of
 * the network namespace of the calling thread. Opens nothing: as cheap as a look at a hook can be.
 *
 * @throws KernelError EPERM, ENODEV.
 */
export function tcxLine(ifindex: number, direction: Direction): TcxEntry[] {
  return native.tcxLine(ifindex, direction === 'ingress');
}

/** The same with their names, but for those that have gone meanwhile. */
export function tcxPrograms(ifindex: number, direction: Direction): { id: number; name: string }[] {
  return tcxLine(ifindex, direction).flatMap(({ programId: id }) => {
    const name = programName(id);
    return name === undefined ? [] : [{ id, name }];
  });
}

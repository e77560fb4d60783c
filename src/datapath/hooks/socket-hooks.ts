/**
 * The programs of node_connect, which choose the backend for sockets of the node's own processes. They hang on the
 * root cgroup by links that are pinned, so that they hold while no daemon runs, and are replaced in place.
 */
import { statSync } from 'node:fs';
import { AttachType, BpfLink, type BpfProgram, LinkType } from '../../native/bpf.js';
import type { CgroupRoot } from './cgroup-root.js';
import type { LinkPins } from './link-pins.js';

/** A socket is shown what it asked for before its first connection is led elsewhere, and after the last one. */
const HOOKS = [
  { program: 'node_recvmsg4', attachType: AttachType.CGROUP_UDP4_RECVMSG },
  { program: 'node_recvmsg6', attachType: AttachType.CGROUP_UDP6_RECVMSG },
  { program: 'node_peername4', attachType: AttachType.CGROUP_INET4_GETPEERNAME },
  { program: 'node_peername6', attachType: AttachType.CGROUP_INET6_GETPEERNAME },
  { program: 'node_sendmsg4', attachType: AttachType.CGROUP_UDP4_SENDMSG },
  { program: 'node_sendmsg6', attachType: AttachType.CGROUP_UDP6_SENDMSG },
  { program: 'node_connect4', attachType: AttachType.CGROUP_INET4_CONNECT },
  { program: 'node_connect6', attachType: AttachType.CGROUP_INET6_CONNECT },
] as const;
type Hook = (typeof HOOKS)[number];

export type SocketProgramName = Hook['program'];
export const SOCKET_PROGRAMS: readonly SocketProgramName[] = HOOKS.map(({ program }) => program);
export type SocketPrograms = Readonly<Record<SocketProgramName, BpfProgram>>;

export class SocketHooks {
  constructor(
    /** Undefined: they were not loaded, since there is no cgroup to attach them to. */
    private readonly programs: SocketPrograms | undefined,
    readonly root: CgroupRoot,
    private readonly pins: LinkPins,
  ) {}

  /**
   * Puts the current programs on every hook, or takes over what an earlier daemon left there; without a cgroup, takes
   * them off. When it throws, none of ours is on any. True: something had to be attached.
   */
  sync(): boolean {
    if (this.programs === undefined || !('path' in this.root)) {
      this.detach();
      return false;
    }
    let attached = false;
    try {
      const cgroup = { path: this.root.path, id: statSync(this.root.path).ino };
      for (const hook of HOOKS) attached = this.put(hook, this.programs[hook.program], cgroup) || attached;
    } catch (error) {
      this.detach();
      throw error;
    }
    return attached;
  }

  private detach(): void {
    for (const { program } of [...HOOKS].reverse()) this.pins.remove(program);
  }

  private put(
    { program: name, attachType }: Hook,
    program: BpfProgram,
    { path, id }: { path: string; id: number },
  ): boolean {
    const lost = this.pins.keep(name, {
      name: 'node_connect',
      program,
      place: { type: LinkType.CGROUP, cgroupId: id, attachType },
      isOpen: true,
      attach: (copy) => BpfLink.attachCgroup({ program: copy, path, attachType }),
    });
    return lost === 'link';
  }
}

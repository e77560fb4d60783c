/** Sockets of the node that a port of it leads to, and whose they are. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { PROTOCOL_NUMBERS, type Protocol } from '../../model/names.js';
import { nodePorts, type TakenPort } from '../../nat/ports.js';
import { type OpenSocket, openSockets } from '../../native/net.js';

/** Who listens at the port. The names of processes are looked for when they are asked for: that takes milliseconds. */
export function listeningAt(protocol: Protocol, port: number): TakenPort[] {
  // The kernel tells of no SCTP sockets this way.
  if (protocol === 'SCTP') return [];
  return openSockets(PROTOCOL_NUMBERS[protocol], port).flatMap((socket) =>
    addressesOf(socket).flatMap((address) =>
      nodePorts(protocol, port, address).map((place) => ({
        ...place,
        get owner() {
          return ownerText(socket);
        },
      })),
    ),
  );
}

function addressesOf({ address, v6Only }: OpenSocket): string[] {
  return address === '::' && !v6Only ? ['::', '0.0.0.0'] : [address];
}

function ownerText({ inode, uid }: OpenSocket): string {
  const process = holderOf(inode);
  return process === undefined
    ? `a socket of user ${uid}`
    : `the process ${process.name} (pid ${process.pid}, user ${uid})`;
}

/** The process that holds the socket; undefined: it is not to be seen, or it has just ended. */
function holderOf(inode: number): { pid: number; name: string } | undefined {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const descriptors = readdirSync(`/proc/${pid}/fd`);
      if (!descriptors.some((fd) => linkOf(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`)) continue;
      return { pid: Number(pid), name: readFileSync(`/proc/${pid}/comm`, 'utf8').trim() };
    } catch {
      // It has ended.
    }
  }
  return undefined;
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** Peers as keys of the compiler's own tables: small numbers, and texts of ranges. Nobody else sees them. */
import type { Peer } from './types.js';

/** Identities are positive, the classes zero and below; a range is its text. */
export type PeerKey = number | string;

export const ANY = 0;
export const HOST = -1;
const WORLD = -2;
/** Network n is FIRST_NETWORK - n; their ids start at 1. */
const FIRST_NETWORK = -16;

export function networkKey(id: number): PeerKey {
  return FIRST_NETWORK - id;
}

export function peerKey(peer: Peer): PeerKey {
  switch (peer.kind) {
    case 'any':
      return ANY;
    case 'host':
      return HOST;
    case 'world':
      return WORLD;
    case 'network':
      return networkKey(peer.id);
    case 'identity':
      return peer.id;
    case 'cidr':
      return peer.cidr;
  }
}

export function peerFromKey(key: PeerKey): Peer {
  if (typeof key === 'string') return { kind: 'cidr', cidr: key };
  if (key > 0) return { kind: 'identity', id: key };
  if (key === ANY) return { kind: 'any' };
  if (key === HOST) return { kind: 'host' };
  if (key === WORLD) return { kind: 'world' };
  return { kind: 'network', id: FIRST_NETWORK - key };
}

/** Peers as small numbers, so that they can be keys of the compiler's own tables. Nobody else sees them. */
import type { Peer } from './types.js';

/** Identities are positive, the classes zero and below. */
export type PeerKey = number;

const ANY = 0;
const HOST = -1;
const WORLD = -2;
/** Network n is FIRST_NETWORK - n; their ids start at 1. */
const FIRST_NETWORK = -16;

export function peerKey(peer: Peer): PeerKey {
  switch (peer.kind) {
    case 'any':
      return ANY;
    case 'host':
      return HOST;
    case 'world':
      return WORLD;
    case 'network':
      return FIRST_NETWORK - peer.id;
    case 'identity':
      return peer.id;
  }
}

export function peerFromKey(key: PeerKey): Peer {
  if (key > 0) return { kind: 'identity', id: key };
  if (key === ANY) return { kind: 'any' };
  if (key === HOST) return { kind: 'host' };
  if (key === WORLD) return { kind: 'world' };
  return { kind: 'network', id: FIRST_NETWORK - key };
}

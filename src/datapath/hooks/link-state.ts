/** What a link ought to be, and what is found of it. */
import type { BpfLink, LinkInfo } from '../../native/bpf.js';
import type { Place } from './link-place.js';
import type { LinkedProgram, Loss } from './repair-ledger.js';

/** As this daemon has put it in order. */
export interface KnownLink {
  /** 0: the link could not be pinned. */
  inode: number;
  programId: number;
  linkId: number;
  program: LinkedProgram;
  place: Place;
}

/** A link that is where it ought to be. */
export type FoundLink = { link: BpfLink; info: LinkInfo; isPinned: boolean };

/**
 * `lost`: something of it, to be put back; `preceded`: others are before it, and it may go before them now; `waiting`: they
 * are, and it is not to go yet.
 */
export type LinkState = 'in order' | 'lost' | 'preceded' | 'waiting';

/** What is to be put back of a link, by what there was of it and what is known. */
export function lossOf(found: FoundLink | undefined, known: KnownLink | undefined): Loss | undefined {
  if (found === undefined) return 'link';
  if (known !== undefined && found.info.programId !== known.programId) return 'program';
  return found.isPinned ? undefined : 'pin';
}

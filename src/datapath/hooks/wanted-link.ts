/** What is wanted of a link. */
import type { BpfLink, BpfProgram } from '../../native/bpf.js';
import type { Place } from './link-place.js';
import type { LinkedProgram } from './repair-ledger.js';

/** Does what is to be done where the interface is. */
export type Inside = <T>(work: () => T) => T;

export interface WantedLink {
  name: LinkedProgram;
  program: BpfProgram;
  place: Place;
  /** It is one of a few, and is open in any case: what is done for it must not depend on files that are left. */
  isOpen?: boolean;
  /** Makes a link there; of a place where others can be too, before all of them. */
  attach: (program: BpfProgram) => BpfLink;
  /** Where its place among others counts. */
  first?: Inside;
}

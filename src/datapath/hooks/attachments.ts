/** The programs on the hooks of each endpoint's interface: by links where the kernel has TCX (6.6), else by filters of clsact. */
import { tcxSupported } from '../../native/bpf.js';
import { ClsactAttachments } from './clsact-attachments.js';
import type { ClsactFilters } from './clsact-filters.js';
import type { AttachedPrograms, Attachments } from './endpoint-hooks.js';
import type { LinkPins } from './link-pins.js';
import { TcxAttachments } from './tcx-attachments.js';

export function openAttachments(
  programs: AttachedPrograms,
  pins: LinkPins,
  filters: ClsactFilters,
): Attachments {
  return tcxSupported() ? new TcxAttachments(programs, pins) : new ClsactAttachments(programs, filters);
}

/** What a preview is asked, and what it answers. */
import type { Cidr } from '../model/address.js';
import type { Steps } from '../work/steps.js';
import type { RuleTable } from './lookup.js';
import type { PreviewSide } from './preview-side.js';

export interface PreviewEndpoint {
  /** One or two, as text. */
  readonly addresses: readonly string[];
  readonly ports: readonly { readonly name: string; readonly protocol: number; readonly port: number }[];
}

export interface PreviewIdentity {
  readonly id: number;
  readonly network_id: number;
  readonly endpoints: readonly PreviewEndpoint[];
}

export interface PreviewInput {
  readonly identities: readonly PreviewIdentity[];
  /** Rules before and after, of the subjects whose rules change. */
  readonly affected: ReadonlyMap<number, { readonly before: RuleTable; readonly after: RuleTable }>;
  /** Rules of any other subject. */
  readonly tableOf: (identity: number) => Steps<RuleTable>;
  /** Addresses by which the host is reached. */
  readonly host: readonly string[];
  /** What is not outside: ranges of networks, and the host's addresses. */
  readonly inside: readonly Cidr[];
  readonly limits: PreviewLimits;
}

export interface PreviewLimits {
  /** Decisions of one side about one range of ports. */
  readonly decisions: number;
  readonly changes: number;
}

export type PreviewParty =
  | { readonly kind: 'identity'; readonly id: number; readonly addresses?: readonly string[] }
  | { readonly kind: 'host'; readonly addresses?: readonly string[] }
  | { readonly kind: 'world'; readonly range?: string; readonly except?: readonly string[] };

export interface PreviewChange {
  readonly source: PreviewParty;
  readonly destination: PreviewParty;
  /** IPPROTO_*; 0: every one. */
  readonly protocol: number;
  readonly ports: string;
  readonly before: 'allowed' | 'denied';
  readonly after: 'allowed' | 'denied';
}

export interface Preview {
  readonly changes: readonly PreviewChange[];
  /** There may be more: a limit was reached. */
  readonly truncated: boolean;
}

/** One end of what is compared. */
export type Party = PreviewIdentity | 'host' | 'world';

/** The rules of one end; undefined: who is no endpoint has none. */
export type Side = PreviewSide | undefined;

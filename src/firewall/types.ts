/**
 * The words that the policy compiler speaks. Everything is symbolic: what a peer, a range or a name of a port is
 * as a number in a map key is decided where the maps are written.
 */
import type { Family } from '../model/address.js';
import type { Identity } from '../model/identity.js';
import type { Labels } from '../model/names.js';
import type { IsolationMode, Network } from '../model/network.js';
import type { Policy } from '../model/policy.js';

/** Seen from the subject: egress = what it sends, ingress = what it receives. */
export type Direction = 'egress' | 'ingress';
/** In the order of enum direction. */
export const DIRECTIONS = ['egress', 'ingress'] as const satisfies readonly Direction[];

/** pass: this tier has no say, the next one decides. */
export type Verdict = 'allow' | 'deny' | 'pass';

/**
 * Asked in this order; the first that decides has decided. In the order of enum policy_tier. The last is the
 * isolation mode of the network: what counts where no policy decides, so that a rule of tier baseline can pass to it.
 */
export const TIERS = ['admin', 'network-policy', 'baseline', 'default'] as const;
export type Tier = (typeof TIERS)[number];

/**
 * Who is on the other side: anybody, any endpoint of a network, one identity, the node, everything else; or
 * whoever has an address of a range and of no narrower range that rules of the same subject and direction name.
 */
export type Peer =
  | { readonly kind: 'any' }
  | { readonly kind: 'network'; readonly id: number }
  | { readonly kind: 'identity'; readonly id: number }
  | { readonly kind: 'host' }
  | { readonly kind: 'world' }
  | { readonly kind: 'cidr'; readonly cidr: string };

/** portBits of a match by name. */
export const PORT_BITS_NAMED = 17;

/**
 * Destination ports: those whose `portBits` leading bits are those of `port` (the other bits of it are 0); or, with
 * portBits PORT_BITS_NAMED and port 0, those that their endpoint calls `name`.
 */
export interface PortMatch {
  /** IPPROTO_*; 0 means any protocol, and then port and portBits are 0. */
  readonly protocol: number;
  readonly port: number;
  /** 0 (every port) to 16 (this port), or PORT_BITS_NAMED. */
  readonly portBits: number;
  readonly name?: string;
}

export interface RuleKey extends PortMatch {
  /** Identity that the rule belongs to. */
  readonly subject: number;
  readonly direction: Direction;
  readonly tier: Tier;
  /** Counted, not enforced. */
  readonly audit: boolean;
  readonly peer: Peer;
}

/** The rule that a decision is attributed to. */
export type RuleRef =
  | {
      readonly kind: 'policy';
      /** `-`: cluster-wide. */
      readonly namespace: string;
      readonly name: string;
      readonly direction: Direction;
      /** Position in the policy's list of that direction. */
      readonly index: number;
    }
  | { readonly kind: 'isolation'; readonly network: string; readonly mode: IsolationMode }
  /** The setting host_access. */
  | { readonly kind: 'host-access' };

export interface RuleEntry extends RuleKey {
  readonly verdict: Verdict;
  /** Within the tier the highest wins; among equals deny, then pass. */
  readonly precedence: number;
  readonly rule: RuleRef;
}

/** What there is to look for among rules, enforced ones or audited ones. */
export interface SubjectRules {
  /** By tier, [egress, ingress]: bit n set: some key of the subject there has portBits n. */
  readonly portBits: Readonly<Record<Tier, readonly [number, number]>>;
  /** Whether NetworkPolicy isolates it: what no rule of that tier allows is denied. */
  readonly isolated: Readonly<Record<Direction, boolean>>;
}

/** By family: bit n set: there is a range of n bits. */
export type PrefixLengths = Readonly<Record<Family, bigint>>;

export interface SubjectEntry {
  readonly identity: number;
  readonly enforced: SubjectRules;
  /** Of the rules with `audit` alone. */
  readonly audited: SubjectRules;
  /** How long the ranges are that its rules name. */
  readonly cidrs: Readonly<Record<Direction, PrefixLengths>>;
}

/** A range that rules of a subject name in that direction, in cidr or in except. */
export interface CidrKey {
  readonly subject: number;
  readonly direction: Direction;
  /** Canonical text, as formatCidr writes it. */
  readonly cidr: string;
}

/** What changed since the last delta, as a whole; in no particular order. */
export interface PolicyDelta {
  readonly set: RuleEntry[];
  readonly delete: RuleKey[];
  readonly subjects: { readonly set: SubjectEntry[]; readonly delete: number[] };
  readonly cidrs: { readonly set: CidrKey[]; readonly delete: CidrKey[] };
}

/** Everything that must be in the maps; in no particular order. Every identity is a subject, if only of default deny. */
export interface CompiledPolicy {
  readonly entries: RuleEntry[];
  readonly subjects: SubjectEntry[];
  readonly cidrs: CidrKey[];
}

export type PolicyNetwork = Pick<Network, 'id' | 'name' | 'isolation_mode' | 'peers'>;
export type PolicyIdentity = Pick<Identity, 'id' | 'network_id' | 'namespace' | 'labels'>;
export interface PolicyNamespace {
  readonly name: string;
  /** Those given; `kubernetes.io/metadata.name` is implied. A namespace that is not given has only that one. */
  readonly labels: Labels;
}

/** What the node itself is to policies. */
export interface PolicyNode {
  /** For peers of the kind `nodes`. */
  readonly labels: Labels;
  /** full: the node reaches every container of its own, whatever policies say. policy: only where they let it. */
  readonly hostAccess: 'full' | 'policy';
}

export interface PolicyInput {
  readonly node?: PolicyNode;
  readonly networks: readonly PolicyNetwork[];
  readonly namespaces: readonly PolicyNamespace[];
  readonly identities: readonly PolicyIdentity[];
  readonly policies: readonly Policy[];
}

/** A policy by name; namespace `-`: cluster-wide. */
export interface PolicyRef {
  readonly namespace: string;
  readonly name: string;
}

/**
 * The words that the policy compiler speaks. Everything is symbolic: what a peer is as a number in a map key
 * is decided where the maps are written.
 */
import type { Identity } from '../model/identity.js';
import type { Labels } from '../model/names.js';
import type { IsolationMode, Network } from '../model/network.js';
import type { NetworkPolicy } from '../model/policy.js';

/** Seen from the subject: egress = what it sends, ingress = what it receives. */
export type Direction = 'egress' | 'ingress';
/** In the order of `SubjectPorts.portBits`, which is that of enum direction. */
export const DIRECTIONS = ['egress', 'ingress'] as const satisfies readonly Direction[];

export type Verdict = 'allow' | 'deny';

/** Who is on the other side: anybody, any endpoint of a network, one identity, the node, everything else. */
export type Peer =
  | { readonly kind: 'any' }
  | { readonly kind: 'network'; readonly id: number }
  | { readonly kind: 'identity'; readonly id: number }
  | { readonly kind: 'host' }
  | { readonly kind: 'world' };

/** Destination ports: those whose `portBits` leading bits are those of `port` (the other bits of it are 0). */
export interface PortMatch {
  /** IPPROTO_*; 0 means any protocol, and then port and portBits are 0. */
  readonly protocol: number;
  readonly port: number;
  /** 0 (every port) to 16 (this port). */
  readonly portBits: number;
}

export interface RuleKey extends PortMatch {
  /** Identity that the rule belongs to. */
  readonly subject: number;
  readonly direction: Direction;
  readonly peer: Peer;
}

/** The rule that a decision is attributed to. */
export type RuleRef =
  | {
      readonly kind: 'policy';
      readonly namespace: string;
      readonly name: string;
      readonly direction: Direction;
      /** Position in the policy's list of that direction. */
      readonly index: number;
    }
  | { readonly kind: 'isolation'; readonly network: string; readonly mode: IsolationMode };

export interface RuleEntry extends RuleKey {
  readonly verdict: Verdict;
  /** The highest wins; among equals, deny. */
  readonly precedence: number;
  readonly rule: RuleRef;
}

export interface SubjectPorts {
  readonly identity: number;
  /** [egress, ingress]: bit n set: some key of the subject in that direction has portBits n. */
  readonly portBits: readonly [number, number];
}

/** What changed since the last delta, as a whole; in no particular order. */
export interface PolicyDelta {
  readonly set: RuleEntry[];
  readonly delete: RuleKey[];
  readonly subjects: { readonly set: SubjectPorts[]; readonly delete: number[] };
}

/** Everything that must be in the maps; in no particular order. Every identity is a subject, if only of default deny. */
export interface CompiledPolicy {
  readonly entries: RuleEntry[];
  readonly subjects: SubjectPorts[];
}

export type PolicyNetwork = Pick<Network, 'id' | 'name' | 'isolation_mode' | 'peers'>;
export type PolicyIdentity = Pick<Identity, 'id' | 'network_id' | 'namespace' | 'labels'>;
export interface PolicyNamespace {
  readonly name: string;
  /** Those given; `kubernetes.io/metadata.name` is implied. A namespace that is not given has only that one. */
  readonly labels: Labels;
}

export interface PolicyInput {
  readonly networks: readonly PolicyNetwork[];
  readonly namespaces: readonly PolicyNamespace[];
  readonly identities: readonly PolicyIdentity[];
  readonly policies: readonly NetworkPolicy[];
}

/** A policy by name. */
export interface PolicyRef {
  readonly namespace: string;
  readonly name: string;
}

/** What the oracle judges by: objects as a user of Kubernetes writes them, and the containers there are. */

export interface OracleSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}
export interface OracleMetadata {
  name: string;
  namespace?: string;
  annotations?: Record<string, string>;
}

/** NetworkPolicyPeer of networking.k8s.io/v1. */
export interface OraclePeer {
  podSelector?: OracleSelector;
  namespaceSelector?: OracleSelector;
  ipBlock?: { cidr: string; except?: string[] };
}
export interface OraclePort {
  protocol?: 'TCP' | 'UDP' | 'SCTP';
  port?: number | string;
  endPort?: number;
}
export interface OracleNetworkPolicy {
  apiVersion: 'networking.k8s.io/v1';
  kind: 'NetworkPolicy';
  metadata: OracleMetadata;
  spec: {
    podSelector?: OracleSelector;
    policyTypes?: ('Ingress' | 'Egress')[];
    ingress?: { from?: OraclePeer[]; ports?: OraclePort[] }[];
    egress?: { to?: OraclePeer[]; ports?: OraclePort[] }[];
  };
}

export interface OracleNamespacedPod {
  namespaceSelector: OracleSelector;
  podSelector: OracleSelector;
}
/** ClusterNetworkPolicyIngressPeer and, with all fields, ClusterNetworkPolicyEgressPeer: one of them is given. */
export interface OracleClusterPeer {
  namespaces?: OracleSelector;
  pods?: OracleNamespacedPod;
  nodes?: OracleSelector;
  networks?: string[];
}
export interface OracleDestinationPort {
  destinationPort?: { number?: number; range?: { start: number; end: number } };
}
export interface OracleProtocol {
  tcp?: OracleDestinationPort;
  udp?: OracleDestinationPort;
  sctp?: OracleDestinationPort;
  destinationNamedPort?: string;
}
export interface OracleClusterRule {
  name?: string;
  action: 'Accept' | 'Deny' | 'Pass';
  protocols?: OracleProtocol[];
}
export interface OracleClusterPolicy {
  apiVersion: 'policy.networking.k8s.io/v1alpha2';
  kind: 'ClusterNetworkPolicy';
  metadata: OracleMetadata;
  spec: {
    tier: 'Admin' | 'Baseline';
    priority: number;
    subject: { namespaces?: OracleSelector; pods?: OracleNamespacedPod };
    ingress?: (OracleClusterRule & { from: OracleClusterPeer[] })[];
    egress?: (OracleClusterRule & { to: OracleClusterPeer[] })[];
  };
}

/** AdminNetworkPolicyPort of policy.networking.k8s.io/v1alpha1: one of its fields is given. */
export interface OracleAdminPort {
  portNumber?: { protocol?: 'TCP' | 'UDP' | 'SCTP'; port: number };
  portRange?: { protocol?: 'TCP' | 'UDP' | 'SCTP'; start: number; end: number };
  namedPort?: string;
}
export interface OracleAdminRule {
  name?: string;
  action: 'Allow' | 'Deny' | 'Pass';
  ports?: OracleAdminPort[];
}
interface OracleAdminRules {
  subject: OracleClusterPolicy['spec']['subject'];
  ingress?: (OracleAdminRule & { from: OracleClusterPeer[] })[];
  egress?: (OracleAdminRule & { to: OracleClusterPeer[] })[];
}
export interface OracleAdminPolicy {
  apiVersion: 'policy.networking.k8s.io/v1alpha1';
  kind: 'AdminNetworkPolicy';
  metadata: OracleMetadata;
  spec: OracleAdminRules & { priority: number };
}
/** There is one, called `default`, and none of its rules passes. */
export interface OracleBaselinePolicy {
  apiVersion: 'policy.networking.k8s.io/v1alpha1';
  kind: 'BaselineAdminNetworkPolicy';
  metadata: OracleMetadata;
  spec: OracleAdminRules;
}
/** The policies of the whole cluster. */
export type OracleTierPolicy = OracleClusterPolicy | OracleAdminPolicy | OracleBaselinePolicy;
export type OraclePolicy = OracleNetworkPolicy | OracleTierPolicy;

/** A virtual network and its isolation mode; `peers` are names of others, for the mode mesh. */
export interface OracleNetwork {
  id: number;
  name: string;
  isolation_mode: 'full' | 'peer' | 'mesh' | 'none';
  peers: string[];
}
/** What containers of the same network, namespace and labels have in common. */
export interface OracleIdentity {
  id: number;
  network_id: number;
  namespace: string;
  labels: Record<string, string>;
}
/** A container's attachment to its network: a pod, in the words of Kubernetes. */
export interface OracleEndpoint {
  id: number;
  identity: OracleIdentity;
  addresses: string[];
  ports: { name: string; protocol: 'TCP' | 'UDP' | 'SCTP'; port: number }[];
}
export interface OracleNode {
  labels: Record<string, string>;
  /** full: the node reaches its containers, whatever policies say. */
  hostAccess: 'full' | 'policy';
}
export interface OracleWorld {
  node: OracleNode;
  networks: OracleNetwork[];
  namespaces: { name: string; labels: Record<string, string> }[];
  identities: OracleIdentity[];
  policies: OraclePolicy[];
}

/** A packet that opens a flow, seen from one of its ends. */
export interface OraclePacket {
  /** The container whose policies are asked. */
  subject: OracleEndpoint;
  /** Whether it sends the packet or is to receive it. */
  direction: 'egress' | 'ingress';
  peer: OracleEndpoint | 'host' | 'world';
  /** Of the peer, as it stands in the packet. */
  peerAddress: string;
  protocol: number;
  /** Destination port. */
  port: number;
}

export interface OracleVerdict {
  verdict: 'allow' | 'deny';
  /** Rules of which any may be named as the one that decided; none: nobody did, so it is denied. */
  by: Set<string>;
}

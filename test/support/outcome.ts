/** How a packet is run, and what it comes to. */

/** What a packet came to. */
export interface Outcome {
  /** See ACTION in programs.ts. */
  verdict: number;
  /** As counted: name in enum drop_reason, NONE if it was not dropped. */
  reason: string;
  endpointId: number;
  direction: number;
  packets: number;
  bytes: number;
  /** The reason why the audited rules would have dropped it, as counted; undefined: they would not have. */
  auditReason?: string;
  /** The frame as the program left it. */
  frame: Uint8Array;
}

/** By which interface a packet passes, and what the hook knows of it. */
export interface Passage {
  ifindex: number;
  ingressIfindex?: number;
  mark?: number;
}

/** One counter. */
export interface Count {
  endpointId: number;
  reason: string;
  direction: number;
  audited: boolean;
  packets: number;
  bytes: number;
}

/**
 * Keeps the compiled policy in the kernel equal to what the engine compiles. The engine decides what changes; here
 * it becomes keys and numbers of the maps, and a change that the kernel does not take is taken back in the engine.
 */
import { Identity, PolicyPeer, Verdict } from '../datapath/abi/generated.js';
import type { ConntrackSweeper } from '../datapath/conntrack-sweeper.js';
import {
  directionCode,
  type PolicyChange,
  type PolicyEntry,
  type PolicySubject,
  type PolicyTable,
} from '../datapath/policy-table.js';
import type { PolicyEngine } from '../firewall/engine.js';
import type { Peer, PolicyDelta, RuleEntry, RuleKey, SubjectPorts } from '../firewall/types.js';
import { ruleText } from '../store/tables.js';
import type { RuleNumbers } from './rule-numbers.js';

export class PolicySync {
  constructor(
    private readonly engine: PolicyEngine,
    private readonly table: PolicyTable,
    private readonly numbers: RuleNumbers,
    private readonly sweeper: ConntrackSweeper,
    private readonly onSweepError: (error: unknown) => void,
  ) {}

  /**
   * Throws what change() would throw because it does not fit, and changes nothing. Asked before a change is recorded:
   * a record that does not fit would keep the next daemon from starting.
   */
  rehearse(apply: (engine: PolicyEngine) => void, undo: (engine: PolicyEngine) => void): void {
    try {
      apply(this.engine);
    } finally {
      undo(this.engine);
      this.engine.takeDelta();
    }
  }

  /**
   * Changes the engine and puts the difference in force, for packets of every flow from the same moment on. When it
   * fails, `undo` must bring the engine back, and nothing has changed. Idle connections that the new set does not
   * allow are cut soon after.
   */
  async change(apply: (engine: PolicyEngine) => void, undo: (engine: PolicyEngine) => void): Promise<void> {
    const changed = await this.put(apply, undo, (change) => this.table.commit(change));
    if (changed) this.cutIdle();
  }

  /** The same for rules that no packet can ask for yet or any more: those of an identity that no endpoint has. */
  async changeUnobserved(
    apply: (engine: PolicyEngine) => void,
    undo: (engine: PolicyEngine) => void,
  ): Promise<void> {
    await this.put(apply, undo, (change) => this.table.applyUnobserved(change));
  }

  /** Every flow is judged again: endpoints have changed who they are. */
  async judgeAgain(): Promise<void> {
    await this.table.advance();
    this.cutIdle();
  }

  /** Makes the kernel's tables equal to the whole of the engine's policy, once at the start. */
  async resync(): Promise<{ changed: boolean }> {
    this.engine.takeDelta();
    const compiled = this.engine.snapshot();
    const present = await this.table.load();
    const wanted = await this.encode({
      set: [...compiled.entries],
      delete: [],
      subjects: { set: [...compiled.subjects], delete: [] },
    });
    const change = difference(wanted, present);
    const changed = !isEmpty(change);
    if (changed) {
      await this.table.commit(change);
      this.cutIdle();
    }
    await this.numbers.retain(compiled.entries.map(({ rule }) => rule));
    return { changed };
  }

  private cutIdle(): void {
    this.sweeper.sweep().catch(this.onSweepError);
  }

  private async put(
    apply: (engine: PolicyEngine) => void,
    undo: (engine: PolicyEngine) => void,
    write: (change: PolicyChange) => Promise<void>,
  ): Promise<boolean> {
    try {
      apply(this.engine);
      const change = await this.encode(this.engine.takeDelta());
      if (isEmpty(change)) return false;
      await write(change);
      return true;
    } catch (error) {
      undo(this.engine);
      this.engine.takeDelta();
      throw error;
    }
  }

  private async encode(delta: PolicyDelta): Promise<PolicyChange> {
    const numbers = await this.numbers.of(delta.set.map(({ rule }) => rule));
    return {
      set: delta.set.map((entry) => encodeEntry(entry, numbers.get(ruleText(entry.rule)) ?? 0)),
      delete: delta.delete.map(encodeKey),
      subjects: { set: delta.subjects.set.map(encodeSubject), delete: [...delta.subjects.delete] },
    };
  }
}

function encodeEntry(entry: RuleEntry, rule: number): PolicyEntry {
  return {
    key: encodeKey(entry),
    decision: {
      rule,
      precedence: entry.precedence,
      verdict: entry.verdict === 'allow' ? Verdict.ALLOW : Verdict.DENY,
    },
  };
}

function encodeKey(key: RuleKey): PolicyEntry['key'] {
  return {
    subject: key.subject,
    peer: encodePeer(key.peer),
    direction: directionCode(key.direction),
    protocol: key.protocol,
    portBits: key.portBits,
    port: key.port,
  };
}

function encodePeer(peer: Peer): number {
  switch (peer.kind) {
    case 'any':
      return PolicyPeer.ANY;
    case 'network':
      return PolicyPeer.NETWORK_FLAG | peer.id;
    case 'identity':
      return peer.id;
    case 'host':
      return Identity.HOST;
    case 'world':
      return Identity.WORLD;
  }
}

function encodeSubject({ identity, portBits }: SubjectPorts): PolicySubject {
  return { identity, portBits: { egress: portBits[0], ingress: portBits[1] } };
}

/** What turns the tables that are present into the ones wanted. */
function difference(
  wanted: PolicyChange,
  present: { entries: PolicyEntry[]; subjects: PolicySubject[] },
): PolicyChange {
  const left = new Map(present.entries.map((entry) => [keyText(entry.key), entry]));
  const set = wanted.set.filter((entry) => {
    const text = keyText(entry.key);
    const found = left.get(text);
    left.delete(text);
    return found === undefined || decisionText(found) !== decisionText(entry);
  });
  const leftSubjects = new Map(present.subjects.map((subject) => [subject.identity, subject]));
  const subjects = wanted.subjects.set.filter((subject) => {
    const found = leftSubjects.get(subject.identity);
    leftSubjects.delete(subject.identity);
    return (
      found?.portBits.egress !== subject.portBits.egress ||
      found.portBits.ingress !== subject.portBits.ingress
    );
  });
  return {
    set,
    delete: [...left.values()].map(({ key }) => key),
    subjects: { set: subjects, delete: [...leftSubjects.keys()] },
  };
}

function keyText({ subject, peer, direction, protocol, portBits, port }: PolicyEntry['key']): string {
  return `${subject}/${peer}/${direction}/${protocol}/${portBits}/${port}`;
}

function decisionText({ decision: { rule, precedence, verdict } }: PolicyEntry): string {
  return `${rule}/${precedence}/${verdict}`;
}

function isEmpty(change: PolicyChange): boolean {
  return (
    change.set.length === 0 &&
    change.delete.length === 0 &&
    change.subjects.set.length === 0 &&
    change.subjects.delete.length === 0
  );
}

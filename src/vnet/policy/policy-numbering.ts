/** The numbers that the compiled policy has in the kernel: they are given with a change, and forgotten after it. */
import type { PolicyChange } from '../../datapath/policy-table.js';
import type { PolicyEngine } from '../../firewall/engine.js';
import type { PolicyDelta } from '../../firewall/types.js';
import type { Reader, Store } from '../../store/store.js';
import { cidrNumbers, endpoints, portNames } from '../../store/tables.js';
import { inTurns } from '../../work/turns.js';
import { encodeDelta, namesOfPorts, rangesOf, rulesOf } from './policy-encoding.js';
import { RuleNumbers } from './rule-numbers.js';
import { claimNumbers, forgetNumbersOf, inParts, retainNumbers } from './stored-numbers.js';

export class PolicyNumbering {
  private readonly numbers: RuleNumbers;

  constructor(
    private readonly store: Store,
    private readonly engine: Pick<PolicyEngine, 'takeUnnamed'>,
  ) {
    this.numbers = new RuleNumbers(store);
  }

  /** A change in numbers; what has none gets one. */
  async encode(delta: PolicyDelta): Promise<PolicyChange> {
    const { store } = this;
    const numbers = {
      rules: await this.numbers.of(await inTurns(rulesOf(delta))),
      names: await claimNumbers(store, portNames, await inTurns(namesOfPorts(delta))),
      cidrs: await claimNumbers(store, cidrNumbers, await inTurns(rangesOf(delta))),
    };
    return inTurns(encodeDelta(delta, numbers));
  }

  /** Keeps the numbers of what is in force alone. */
  async retain(inForce: PolicyDelta): Promise<void> {
    this.engine.takeUnnamed();
    const names = await inTurns(namesOfPorts(inForce));
    await this.numbers.retain(await inTurns(rulesOf(inForce)));
    await retainNumbers(this.store, portNames, [...names, ...declaredNames(this.store)]);
    await retainNumbers(this.store, cidrNumbers, await inTurns(rangesOf(inForce)));
  }

  /**
   * Forgets the numbers of what went with the changes before this one: until then the events of those who met it are
   * told by name. What is lost with a crash is forgotten at the next start.
   */
  async forgetUnnamed(): Promise<void> {
    const { rules, names, cidrs } = this.engine.takeUnnamed();
    const { store } = this;
    await inParts(store, rules, (transaction, part) => this.numbers.forget(transaction, part));
    await inParts(store, cidrs, (transaction, part) => forgetNumbersOf(transaction, cidrNumbers, part));
    await inParts(store, names, (transaction, part) => {
      const declared = declaredNames(transaction);
      forgetNumbersOf(
        transaction,
        portNames,
        part.filter((name) => !declared.has(name)),
      );
    });
  }
}

/** What endpoints call their ports. */
function declaredNames(reader: Reader): Set<string> {
  return new Set(reader.list(endpoints).flatMap(({ ports }) => ports.flatMap(({ name }) => name ?? [])));
}

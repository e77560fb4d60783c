/** Whether a node is as its store says, however it came to be so. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Daemon } from './daemon.js';
import { demandOf } from './demand.js';
import { differences } from './differences.js';
import type { TestNetns } from './netns.js';
import { presenceOn } from './presence.js';
import { contradictions } from './record-order.js';
import { readRecords } from './records.js';

/** How long something may still be under way after a call has returned or a daemon has started. */
const SETTLE_MS = 20_000;
const LOOK_AGAIN_MS = 20;

/**
 * What is missing or too many on the node, in its containers and in the store itself: `[]` as soon as nothing is.
 * Gives up waiting when the daemon has ended before.
 */
export async function whenOrderly(daemon: Daemon, containers: readonly TestNetns[]): Promise<string[]> {
  const deadline = performance.now() + SETTLE_MS;
  for (;;) {
    const wrong = await disorder(daemon, containers);
    if (wrong.length === 0 || daemon.hasEnded || performance.now() > deadline) return wrong;
    await delay(LOOK_AGAIN_MS);
  }
}

async function disorder(daemon: Daemon, containers: readonly TestNetns[]): Promise<string[]> {
  const records = await readRecords(daemon);
  const wanted = await demandOf(records, daemon, containers);
  return [...differences(wanted, await presenceOn(daemon, containers)), ...contradictions(records)];
}

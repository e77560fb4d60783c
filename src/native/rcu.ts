/** RCU, the kernel's way of waiting until nobody uses what was taken away. */
import { closeSync, existsSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { nativeFunctions } from './addon.js';

interface Functions {
  waitForPrograms(): Promise<void>;
}

/**
 * Resolves when every BPF program that ran at the time of the call has ended, so that nobody still uses what it
 * read from a map before. Tens of milliseconds, off the event loop. KernelError EINVAL on kernels with nohz_full.
 */
export function waitForPrograms(): Promise<void> {
  return nativeFunctions<Functions>().waitForPrograms();
}

const SWITCH = '/sys/kernel/rcu_expedited';
/** Of the switch, once it could be opened: it is thrown four times in the life of a container. */
let descriptor: number | undefined;
const value = Buffer.alloc(1);
let users = 0;
let isSwitched = false;
/** Exists while we have switched. */
let marker: string | undefined;

/**
 * Names a file that exists while this process has the switch on. When it is there already, the process that made it was
 * killed in such a moment, and the switch is put back.
 */
export function markExpedition(path: string): void {
  marker = path;
  if (!existsSync(path)) return;
  turn('1', '0');
  removeMark();
}

/**
 * Asks for expedited grace periods until it is disposed of.
 *
 * Attaching to a TCX hook, and removing an interface that has one, waits for grace periods under the lock of all
 * network configuration: some 10 ms each in which nobody on the node can add an interface, four times in the life
 * of a container. The network stack itself asks for expedited grace periods whenever it holds that lock
 * (synchronize_net); TCX does not. This does, through /sys/kernel/rcu_expedited, for those moments. Where the
 * system does not let us, or somebody has switched already, nothing is changed.
 */
export function expediteGracePeriods(): Disposable {
  if (users++ === 0) isSwitched = switchOn();
  let disposed = false;
  return {
    [Symbol.dispose]() {
      if (disposed) return;
      disposed = true;
      if (--users === 0 && isSwitched) isSwitched = !switchOff();
    },
  };
}

/** First the mark: a switch that is on without it would stay on for ever. */
function switchOn(): boolean {
  try {
    if (marker !== undefined) closeSync(openSync(marker, 'w'));
  } catch {
    // No place for the mark: it only takes longer.
    return false;
  }
  const isOn = turn('0', '1');
  if (!isOn) removeMark();
  return isOn;
}

function switchOff(): boolean {
  const isOff = turn('1', '0');
  removeMark();
  return isOff;
}

function removeMark(): void {
  try {
    if (marker !== undefined) unlinkSync(marker);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Only from the value that we expect: somebody else's choice stays. */
function turn(from: string, to: string): boolean {
  try {
    descriptor ??= openSync(SWITCH, 'r+');
    if (readSync(descriptor, value, 0, 1, 0) !== 1 || value.toString('latin1') !== from) return false;
    writeSync(descriptor, to, 0);
    return true;
  } catch {
    // Read-only /sys, or a kernel without the switch: it only takes longer.
    return false;
  }
}

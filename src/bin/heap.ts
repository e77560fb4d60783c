/** V8's heap, kept small: the memory of a node is for its containers. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * V8 lets garbage gather until a small heap has doubled, or more. Sooner costs little, since little gathers: compiling
 * the rules of thousands of identities takes a fifth to a half longer.
 */
export function growSlowly(): void {
  setFlagsFromString('--heap-growing-percent=40');
}

/** Of what a start has read, a third is of no use afterwards, and would stay until as much has gathered again. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  runInNewContext('globalThis.gc?.()');
}

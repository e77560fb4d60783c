import type { OnLeft } from '../../src/vnet/rollback.js';

/** For tests in which everything that is taken back can be. */
export const nothingLeft: OnLeft = (error, what) => {
  throw new Error(`could not take back: ${what}`, { cause: error });
};

import type { DenyListService } from '../../src/vnet/contract.js';

export function fakeDenyList(fail: () => void): DenyListService {
  let ranges: string[] = [];
  const become = async (after: readonly string[]) => {
    fail();
    const before = ranges;
    ranges = [...new Set(after)].sort();
    return {
      added: ranges.filter((range) => !before.includes(range)).length,
      removed: before.filter((range) => !ranges.includes(range)).length,
      total: ranges.length,
    };
  };
  return {
    get size() {
      return ranges.length;
    },
    list: ({ after = '', limit }) => {
      const rest = ranges.filter((range) => range > after);
      const cidrs = rest.slice(0, limit);
      return { cidrs, total: ranges.length, ...(rest.length > limit ? { next: cidrs.at(-1) } : {}) };
    },
    replace: become,
    add: (cidrs) => become([...ranges, ...cidrs]),
    remove: (cidrs) => become(ranges.filter((range) => !cidrs.includes(range))),
  };
}

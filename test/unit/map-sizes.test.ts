import { describe, expect, it } from 'vitest';
import { sizedFor, wantedSizes } from '../../src/datapath/map-sizes.js';
import { loadSettings } from '../../src/model/settings-load.js';

const GIB = 2 ** 30;

const settings = (...argv: string[]) => loadSettings({ argv, env: {}, readFile: () => '' });

describe('the table of connections', () => {
  it.each([
    ['plenty', 16 * GIB, 262144],
    ['4 GiB', 4 * GIB, 262144],
    ['a byte less', 4 * GIB - 1, 65536],
    ['1 GiB', GIB, 65536],
    ['a byte less', GIB - 1, 16384],
  ])('suits the memory of the node: %s', (_, memory, connections) => {
    const sizes = wantedSizes(sizedFor(settings(), memory));
    expect(sizes.get('qn_conntrack')).toBe(connections);
    expect(sizes.get('qn_nat')).toBe(connections);
  });

  it('is filled neither by the outside nor by one endpoint, however small it is', () => {
    expect(sizedFor(settings(), GIB)).toMatchObject({ inbound_flows: 32768, flows_per_endpoint: 8192 });
    const few = settings('--inbound-flows', '100', '--flows-per-endpoint', '50');
    expect(sizedFor(few, GIB)).toMatchObject({ inbound_flows: 100, flows_per_endpoint: 50 });
  });

  it('keeps "no limit"', () => {
    const none = settings('--inbound-flows', '0', '--flows-per-endpoint', '0');
    expect(sizedFor(none, GIB)).toMatchObject({ inbound_flows: 0, flows_per_endpoint: 0 });
  });

  it('stays as large as it is', () => {
    const kept = sizedFor(settings(), 16 * GIB, 16384);
    expect(kept).toMatchObject({ conntrack_max: 16384, inbound_flows: 8192, flows_per_endpoint: 2048 });
  });

  it('is as large as the operator says, and the limits too', () => {
    const said = settings('--conntrack-max', '1024');
    expect(sizedFor(said, 16 * GIB)).toEqual(said);
  });
});

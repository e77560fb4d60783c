import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { CNI_CODES } from '../../src/cni/failure.js';
import {
  containerList,
  endpointList,
  endpointPatch,
  endpointRequest,
  hostInterface,
  patchedLabels,
} from '../../src/model/endpoint.js';
import { AppError, dottedPath, ERRORS, errorBody, errorDetails, parseWith } from '../../src/model/errors.js';
import { health, readiness } from '../../src/model/health.js';
import { identityKey, identityList } from '../../src/model/identity.js';
import {
  canonicalLabels,
  containerId,
  dnsLabel,
  interfaceName,
  LABELS_MAX,
  labelKey,
  labelOf,
  labels,
  labelValue,
  macAddress,
  port,
  portName,
} from '../../src/model/names.js';
import { namespaceLabels, namespaceList, namespaceRequest } from '../../src/model/namespace.js';
import { network, networkFrom, networkList, networkRequest } from '../../src/model/network.js';

function refusalOf(schema: z.ZodType, value: unknown): AppError {
  try {
    parseWith(schema, value);
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('the value was accepted');
}

const pathsOf = (schema: z.ZodType, value: unknown) =>
  refusalOf(schema, value).details?.map(({ path }) => path);
const accepts = (schema: z.ZodType, value: unknown) => schema.safeParse(value).success;

describe('names', () => {
  const cases: [string, z.ZodType, string[], string[]][] = [
    [
      'a DNS label',
      dnsLabel,
      ['a', 'a-1', '0', 'x'.repeat(63)],
      ['', 'A', '-a', 'a-', 'a.b', 'a_b', 'x'.repeat(64), 'a\n'],
    ],
    [
      'a container id',
      containerId,
      ['a', 'A.b_c-1', 'x'.repeat(128)],
      ['', '.a', '-a', 'a/b', 'a b', 'x'.repeat(129)],
    ],
    [
      'an interface name',
      interfaceName,
      ['eth0', 'a.b', 'x'.repeat(15), 'veth@1', '...'],
      ['', '.', '..', 'lo', 'a/b', 'a:b', 'a b', 'a\tb', 'é', 'x'.repeat(16)],
    ],
    [
      'a label key',
      labelKey,
      ['a', 'app.kubernetes.io/name', 'A_b', `${'x'.repeat(60)}.io/${'y'.repeat(63)}`],
      [
        '',
        '/a',
        'a/',
        'a/b/c',
        '-a',
        'A.io/x',
        '__proto__',
        'y'.repeat(64),
        `${`${'x'.repeat(60)}.`.repeat(5)}io/a`,
      ],
    ],
    ['a label value', labelValue, ['', 'a', 'A.b_c', 'x'.repeat(63)], ['-a', 'a-', 'a b', 'x'.repeat(64)]],
    ['a port name', portName, ['http', 'a1-b'], ['', '80', 'a--b', 'HTTP', 'x'.repeat(16)]],
    [
      'a unicast MAC address',
      macAddress,
      ['02:00:00:00:00:01', '02:AB:cd:00:00:01'],
      [
        '01:00:5e:00:00:01',
        'ff:ff:ff:ff:ff:ff',
        '00:00:00:00:00:00',
        '02:00:00:00:01',
        '02-00-00-00-00-01',
        '',
      ],
    ],
  ];
  it.each(cases)('%s is exactly what its rules say', (_, schema, good, bad) => {
    expect(good.filter((text) => !accepts(schema, text))).toEqual([]);
    expect(bad.filter((text) => accepts(schema, text))).toEqual([]);
  });

  it('a MAC address is written in lower case', () => {
    expect(macAddress.parse('02:AB:CD:00:00:01')).toBe('02:ab:cd:00:00:01');
  });

  it('labels are bounded, and one that nobody gave is not there', () => {
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, 'v']));
    expect(accepts(labels, many(64))).toBe(true);
    expect(accepts(labels, many(65))).toBe(false);
    expect(labelOf(labels.parse({ a: '1' }), 'constructor')).toBeUndefined();
    expect(labelOf(labels.parse({ constructor: 'x' }), 'constructor')).toBe('x');
  });

  it('of the labels of a namespace one is its name', () => {
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, 'v']));
    const given = (value: object) => pathsOf(namespaceRequest, { labels: value });
    expect(accepts(namespaceRequest, { labels: many(63) })).toBe(true);
    expect(given(many(64))).toEqual(['labels']);
    // What was answered can be given again.
    expect(accepts(namespaceRequest, { labels: namespaceLabels('n', many(63)) })).toBe(true);
  });

  it('the same labels have the same canonical form and identity key, and others another', () => {
    expect(canonicalLabels({ b: '2', a: '1' })).toBe(canonicalLabels({ a: '1', b: '2' }));
    const key = identityKey({ network_id: 1, namespace: 'x', labels: { a: '1' } });
    expect(key).not.toBe(identityKey({ network_id: 1, namespace: 'x', labels: { a: '1', b: '' } }));
    expect(key).not.toBe(identityKey({ network_id: 2, namespace: 'x', labels: { a: '1' } }));
    expect(key).not.toBe(identityKey({ network_id: 1, namespace: 'y', labels: { a: '1' } }));
  });

  it('nobody can claim the name label of another namespace', () => {
    expect(namespaceLabels('blue', { 'kubernetes.io/metadata.name': 'red', a: '1' })).toEqual({
      'kubernetes.io/metadata.name': 'blue',
      a: '1',
    });
  });
});

describe('errors', () => {
  it('name each bad field by its path', () => {
    expect(dottedPath(['spec', 'ingress', 0, 'ports', 1, 'port'])).toBe('spec.ingress[0].ports[1].port');
    expect(dottedPath(['labels', 'a.b/c'])).toBe('labels["a.b/c"]');
    expect(dottedPath([0, 'a'])).toBe('[0].a');
    expect(
      pathsOf(networkRequest, { name: 'A', cidr: '10.0.0.1/8', colour: 1, labels: { 'a b': 'x' } }),
    ).toEqual(['name', 'cidr', 'labels["a b"]', 'colour']);
    expect(pathsOf(networkRequest, [])).toEqual(['']);
  });

  it('of a union are those of the alternative that fits best', () => {
    const schema = z.union([z.strictObject({ a: z.strictObject({ b: z.number() }) }), z.string()]);
    expect(pathsOf(schema, { a: { b: 'x' } })).toEqual(['a.b']);
  });

  it.each([
    ['what is not there', z.string(), undefined, 'is missing'],
    ['a choice that is not there', z.enum(['a', 'b']), undefined, 'is missing'],
    ['another kind of value', z.string(), 1, 'must be a text'],
    ['half a number', port, 80.5, 'must be a whole number'],
    ['no choice', z.enum(['a', 'b']), 'c', 'must be one of a, b'],
    ['too little', port, 0, 'must be at least 1'],
    ['too much', port, 65536, 'must be at most 65535'],
    ['a text that is too short', z.string().min(1), '', 'must have at least 1 character'],
    ['a list that is too long', z.array(z.int()).max(2), [1, 2, 3], 'must have at most 2 entries'],
    [
      'what neither alternative is',
      z.union([port, z.literal('auto')]),
      'x',
      'must be a number, or must be auto',
    ],
    ['the right kind for one of two', z.union([z.literal('-'), dnsLabel]), 'A_b', 'must be a DNS label'],
    ['nothing, where there are two', z.union([port, z.literal('auto')]), undefined, 'is missing'],
  ])('say of %s what it must be, as an operator would', (_, schema, value, message) => {
    const [detail, ...others] = errorDetails(schema.safeParse(value).error ?? new z.ZodError([]));
    expect(detail?.message).toContain(message);
    expect(others).toEqual([]);
  });

  it('have one body, with the hint in the message', () => {
    expect(
      errorBody(new AppError('NETWORK_NOT_FOUND', 'no network blue', { hint: 'make it first' })),
    ).toEqual({
      error: { code: 'NETWORK_NOT_FOUND', message: 'no network blue: make it first', details: [] },
    });
  });

  it('that are unknown do not show what they are', () => {
    const body = JSON.stringify(errorBody(new TypeError('secret /root/path')));
    expect(body).toContain('"INTERNAL"');
    expect(body).not.toContain('secret');
  });

  it('have a status, a CNI code, an exit code and a sentence each, and CNI codes of our own are unique', () => {
    const own = [...Object.values(ERRORS).map(({ cni }) => cni), ...Object.values(CNI_CODES)].filter(
      (code) => code >= 100,
    );
    expect(new Set(own).size).toBe(own.length);
    for (const { http, cni, exit, text } of Object.values(ERRORS)) {
      expect(http).toBeGreaterThanOrEqual(400);
      expect(http).toBeLessThan(600);
      expect(cni).toBeGreaterThan(0);
      expect(exit).toBeGreaterThanOrEqual(64);
      expect(text).toMatch(/^[A-Z].*\.$/);
    }
  });

  it('of a value with a thousand faults are bounded', () => {
    const value = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`x${n}`, 1]));
    expect(pathsOf(networkRequest, value)).toHaveLength(64);
  });
});

const BLUE = { name: 'blue', cidr: '10.0.0.0/16' };
const MADE = { id: 3, created_at: '2025-01-01T00:00:00.000Z' };

describe('a network', () => {
  it('gets the defaults that are documented', () => {
    expect(networkRequest.parse(BLUE)).toEqual({
      ...BLUE,
      driver: 'bridge',
      isolation_mode: 'full',
      peers: [],
      options: { multicast: false, broadcast: false, masquerade: true },
      labels: {},
    });
  });

  it('has the first address of each range as its gateway unless told otherwise', () => {
    const made = networkFrom(networkRequest.parse({ ...BLUE, cidr6: 'FD00::/64' }), MADE);
    expect(made).toMatchObject({
      gateway: '10.0.0.1',
      cidr6: 'fd00::/64',
      gateway6: 'fd00::1',
      bridge_interface: 'qnbr3',
    });
    expect(network.parse(made)).toEqual(made);
    expect(networkFrom(networkRequest.parse({ ...BLUE, gateway: '10.0.3.1' }), MADE).gateway).toBe(
      '10.0.3.1',
    );
  });

  it.each([
    ['peer-only', 'peer'],
    ['mesh-only', 'mesh'],
    ['none', 'none'],
  ])('of isolation mode %s has the mode %s', (given, mode) => {
    expect(networkRequest.parse({ ...BLUE, isolation_mode: given }).isolation_mode).toBe(mode);
  });

  const refusals: [string, object, string[]][] = [
    ['without a range', { name: 'blue' }, ['cidr']],
    ['with a gateway outside its range', { ...BLUE, gateway: '10.1.0.1' }, ['gateway']],
    ['with its base as gateway', { ...BLUE, gateway: '10.0.0.0' }, ['gateway']],
    ['with its broadcast address as gateway', { ...BLUE, gateway: '10.0.255.255' }, ['gateway']],
    ['with a gateway without its range', { ...BLUE, gateway6: 'fd00::1' }, ['gateway6']],
    ['with IPv6 and a smaller MTU', { ...BLUE, cidr6: 'fd00::/64', options: { mtu: 1279 } }, ['options.mtu']],
    ['with too small an MTU', { ...BLUE, options: { mtu: 575 } }, ['options.mtu']],
    ['with peers in another mode', { ...BLUE, isolation_mode: 'peer', peers: ['red'] }, ['peers']],
    ['with itself as peer', { ...BLUE, isolation_mode: 'mesh', peers: ['red', 'blue'] }, ['peers[1]']],
    ['with a peer twice', { ...BLUE, isolation_mode: 'mesh', peers: ['red', 'red'] }, ['peers']],
    ['with an unknown option', { ...BLUE, options: { mtuu: 1 } }, ['options.mtuu']],
    ['with an unknown mode', { ...BLUE, isolation_mode: 'open' }, ['isolation_mode']],
    ['with a bad name server', { ...BLUE, dns: { nameservers: ['10.0.0.1', 'x'] } }, ['dns.nameservers[1]']],
  ];
  it.each(refusals)('%s is refused, naming the field', (_, value, paths) => {
    const error = refusalOf(networkRequest, value);
    expect(error.code).toBe('INVALID_REQUEST');
    expect(error.details?.map(({ path }) => path)).toEqual(paths);
  });

  it('of an unknown driver is refused as such', () => {
    const request = networkRequest.parse({ ...BLUE, driver: 'macvlan' });
    expect(() => networkFrom(request, MADE)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_DRIVER' }));
  });
});

const WEB = { container_id: 'web', netns_path: '/proc/1/ns/net' };

describe('the schemas', () => {
  it('can all be told to OpenAPI: what is sent, and what is answered', () => {
    for (const schema of [networkRequest, endpointRequest, endpointPatch, namespaceRequest]) {
      expect(JSON.stringify(z.toJSONSchema(schema, { io: 'input' }))).toContain(
        '"additionalProperties":false',
      );
    }
    for (const schema of [
      networkList,
      endpointList,
      containerList,
      namespaceList,
      identityList,
      health,
      readiness,
    ]) {
      expect(JSON.stringify(z.toJSONSchema(schema, { io: 'output' }))).toContain(
        '"additionalProperties":false',
      );
    }
  });
});

describe('an endpoint', () => {
  it('gets the defaults that are documented', () => {
    expect(endpointRequest.parse({ ...WEB, ports: [{ container_port: 80 }] })).toEqual({
      ...WEB,
      interface_name: 'eth0',
      namespace: 'default',
      labels: {},
      ports: [{ container_port: 80, protocol: 'TCP' }],
    });
  });

  const refusals: [string, object, string[]][] = [
    ['with a relative path', { ...WEB, netns_path: 'ns' }, ['netns_path']],
    ['with a NUL in its path', { ...WEB, netns_path: '/a\0b' }, ['netns_path']],
    ['with an IPv6 address as ip_address', { ...WEB, ip_address: 'fd00::1' }, ['ip_address']],
    ['with an address with a prefix', { ...WEB, ip_address: '10.0.0.5/16' }, ['ip_address']],
    ['with port 0', { ...WEB, ports: [{ container_port: 0 }] }, ['ports[0].container_port']],
    [
      'with host_ip alone',
      { ...WEB, ports: [{ container_port: 1, host_ip: '10.0.0.1' }] },
      ['ports[0].host_ip'],
    ],
    [
      'with a port name twice',
      {
        ...WEB,
        ports: [
          { name: 'a', container_port: 1 },
          { name: 'a', container_port: 2 },
        ],
      },
      ['ports[1].name'],
    ],
    [
      'with a host port twice',
      {
        ...WEB,
        ports: [
          { container_port: 1, host_port: 80 },
          { container_port: 2, host_port: 80 },
        ],
      },
      ['ports[1].host_port'],
    ],
    [
      'with too many ports',
      { ...WEB, ports: Array.from({ length: 65 }, (_, n) => ({ container_port: n + 1 })) },
      ['ports'],
    ],
    ['with an unknown field', { ...WEB, privileged: true }, ['privileged']],
  ];
  it.each(refusals)('%s is refused, naming the field', (_, value, paths) => {
    expect(pathsOf(endpointRequest, value)).toEqual(paths);
  });

  it('can publish one host port for two protocols', () => {
    const ports = ['TCP', 'UDP'].map((protocol) => ({ container_port: 53, host_port: 53, protocol }));
    expect(accepts(endpointRequest, { ...WEB, ports })).toBe(true);
  });

  it('is not patched by nothing', () => {
    expect(pathsOf(endpointPatch, {})).toEqual(['']);
    expect(endpointPatch.parse({ labels: {} })).toEqual({ labels: {} });
  });

  it('has an interface name that fits, whatever its number', () => {
    expect(hostInterface(255)).toBe('qn000000ff');
    expect(accepts(interfaceName, hostInterface(0xffffffff))).toBe(true);
  });
});

describe('changes of labels', () => {
  const before = { app: 'web', tier: 'front' };

  it('leave the labels that they do not name, and null removes', () => {
    const label_changes = endpointPatch.parse({ label_changes: { tier: null, env: 'test', gone: null } });
    expect(patchedLabels(before, label_changes)).toEqual({ app: 'web', env: 'test' });
    expect(before).toEqual({ app: 'web', tier: 'front' });
  });

  it('are refused beside labels, of keys that cannot be, and where there would be too many', () => {
    expect(pathsOf(endpointPatch, { labels: {}, label_changes: {} })).toEqual(['label_changes']);
    expect(pathsOf(endpointPatch, { label_changes: { 'a b': 'x' } })).toEqual(['label_changes["a b"]']);
    expect(pathsOf(endpointPatch, { label_changes: JSON.parse('{"__proto__":null}') })).toEqual([
      'label_changes.__proto__',
    ]);
    const many = Object.fromEntries(Array.from({ length: LABELS_MAX }, (_, n) => [`k${n}`, 'v']));
    expect(() => patchedLabels(before, { label_changes: many })).toThrow(/there would be/);
    expect(patchedLabels({}, { label_changes: many })).toEqual(many);
  });
});

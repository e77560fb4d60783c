import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Codec, decodePerCpu, u16, u64 } from '../../src/datapath/abi/codec.js';
import * as abi from '../../src/datapath/abi/generated.js';

const root = join(import.meta.dirname, '../..');
const headers = readdirSync(join(root, 'bpf/abi')).map((file) => `abi/${file}`);

const isCodec = (value: unknown): value is Codec<unknown> =>
  typeof value === 'object' && value !== null && 'encode' in value && 'decode' in value;
const codecs: { name: string; codec: Codec<unknown> }[] = Object.entries(abi).flatMap(([name, value]) =>
  isCodec(value) ? [{ name, codec: value }] : [],
);

const snakeCase = (pascal: string) => pascal.replace(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();

/** Fewer for a table of many alike. */
const runs = ({ size }: Codec<unknown>) => ({ numRuns: size < 1000 ? 100 : 5 });

/** Without its seal, which is made of all the other bytes. */
const encodeUnsealed = (codec: Codec<unknown>, value: unknown) =>
  codec.isSealed ? codec.encode(value).fill(0, -4) : codec.encode(value);

/** The bytes that carry information: all ones survive a round trip there, padding comes back as zero. */
const carrying = (codec: Codec<unknown>) =>
  encodeUnsealed(codec, codec.decode(new Uint8Array(codec.size).fill(0xff)));

describe.each(codecs)('$name', ({ name, codec }) => {
  it('gives back every byte that it read, and zeroes for padding', () => {
    const mask = carrying(codec);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: codec.size, maxLength: codec.size }), (bytes) => {
        const value = codec.decode(bytes);
        expect(encodeUnsealed(codec, value)).toEqual(bytes.map((byte, index) => byte & (mask[index] ?? 0)));
        expect(codec.decode(codec.encode(value))).toEqual(value);
      }),
      runs(codec),
    );
  });

  it('encodes many as it encodes one', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: codec.size, maxLength: codec.size })), (many) => {
        const values = many.map((bytes) => codec.decode(bytes));
        const encoded = codec.encodeMany(values);
        expect(encoded).toEqual(new Uint8Array(Buffer.concat(values.map((value) => codec.encode(value)))));
        expect(codec.decodeMany(encoded)).toEqual(values);
      }),
      runs(codec),
    );
  });

  it('refuses bytes of another length', () => {
    expect(() => codec.decode(new Uint8Array(codec.size + 1))).toThrow(RangeError);
    expect(() => codec.decode(new Uint8Array(codec.size - 1))).toThrow(RangeError);
    expect(() => codec.decodeMany(new Uint8Array(codec.size + 1))).toThrow(RangeError);
  });

  it('has the size and the offsets that the compiler gives the struct', () => {
    const struct = `struct ${snakeCase(name)}`;
    const asserts = [`sizeof(${struct}) == ${codec.size}`];
    for (const { field, offset, size } of fieldsOf(codec)) {
      asserts.push(`offsetof(${struct}, ${field}) == ${offset}`);
      if (size !== undefined) asserts.push(`sizeof(((${struct} *)0)->${field}) == ${size}`);
    }
    const source = [
      '#include <stddef.h>',
      ...headers.map((header) => `#include "${header}"`),
      ...asserts.map((condition) => `_Static_assert(${condition}, "layout");`),
    ].join('\n');
    const triplet = execFileSync('clang', ['-print-multiarch'], { encoding: 'utf8' }).trim();
    const include = ['-isystem', `/usr/include/${triplet}`, '-I', join(root, 'bpf')];
    execFileSync('clang', ['-target', 'bpf', '-fsyntax-only', ...include, '-x', 'c', '-'], { input: source });
  });
});

/** Where a codec puts each field: the bytes that change when only this field is all ones. */
function fieldsOf(codec: Codec<unknown>): { field: string; offset: number; size: number | undefined }[] {
  const ones = codec.decode(new Uint8Array(codec.size).fill(0xff));
  const zero = codec.decode(new Uint8Array(codec.size));
  if (typeof ones !== 'object' || ones === null || ones instanceof Uint8Array) return [];
  return (
    Object.entries(ones)
      .map(([key, value]) => ({
        key,
        // The last bytes of a struct may be padding.
        padded: value?.constructor === Object,
        bytes: encodeUnsealed(codec, Object.assign({}, zero, { [key]: value })),
      }))
      // The ends of an array of padded structs say nothing of the array's size.
      .filter(({ bytes }) =>
        bytes.every(
          (byte, index) => byte === 0xff || index < bytes.indexOf(0xff) || index > bytes.lastIndexOf(0xff),
        ),
      )
      .map(({ key, padded, bytes }) => {
        const offset = bytes.indexOf(0xff);
        const size = padded ? undefined : bytes.lastIndexOf(0xff) - offset + 1;
        return { field: snakeCase(key), offset, size };
      })
  );
}

describe('byte order', () => {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

  it('writes __be16 and __be32 in network order, everything else in the order of the machine', () => {
    const zero = abi.FragmentSlot.decode(new Uint8Array(abi.FragmentSlot.size));
    expect(
      hex(abi.FragmentSlot.encode({ ...zero, id: 0x01020304, headerLength: 0x0102 })).slice(80, 100),
    ).toBe('01020304000000000201');
    const key = abi.ConntrackKey.decode(new Uint8Array(abi.ConntrackKey.size));
    expect(hex(abi.ConntrackKey.encode({ ...key, portA: 443, portB: 80, scope: 7 })).slice(64, 80)).toBe(
      '01bb005007000000',
    );
    const policy = abi.PolicyKey.decode(new Uint8Array(abi.PolicyKey.size));
    expect(hex(abi.PolicyKey.encode({ ...policy, port: 443 }))).toBe('000000000000000000000000bb010000');
  });

  it('keeps the bytes of an address as they are', () => {
    const address = Uint8Array.from({ length: 16 }, (_, index) => index);
    const bytes = abi.AddressKey.encode({ networkId: 1, address });
    expect(bytes.subarray(4)).toEqual(address);
  });

  it('keeps 64 bits', () => {
    const value = { packets: 0xfedcba9876543210n, bytes: 1n };
    expect(abi.MetricValue.decode(abi.MetricValue.encode(value))).toEqual(value);
  });
});

describe('a value that does not fit', () => {
  it.each([-1, 0x10000, 1.5, Number.NaN])('is refused and not cut: %d as 16 bits', (value) => {
    expect(() => u16.encode(value)).toThrow(RangeError);
  });
  it.each([-1n, 1n << 64n])('is refused and not cut: %d as 64 bits', (value) => {
    expect(() => u64.encode(value)).toThrow(RangeError);
  });
  it('is refused and not cut: an address of 4 bytes', () => {
    expect(() => abi.AddressKey.encode({ networkId: 1, address: new Uint8Array(4) })).toThrow(RangeError);
  });
});

it('reads a copy: the source buffer may be used again', () => {
  const source = abi.AddressKey.encode({ networkId: 1, address: new Uint8Array(16).fill(1) });
  const { address } = abi.AddressKey.decode(source);
  source.fill(9);
  expect(address).toEqual(new Uint8Array(16).fill(1));
});

it('reads a value of each CPU, padded to 8 bytes', () => {
  expect(decodePerCpu(u16, Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]))).toEqual([
    1, 258,
  ]);
  expect(() => decodePerCpu(u16, new Uint8Array(9))).toThrow(RangeError);
});

describe('the catalogue', () => {
  it('exports every struct and enum of bpf/abi', () => {
    const text = headers.map((header) => readFileSync(join(root, 'bpf', header), 'utf8')).join('\n');
    const declared = [...text.matchAll(/^(?:struct|enum) (\w+) \{/gm)].flatMap((match) => match.slice(1));
    const known = new Set(Object.keys(abi).map(snakeCase));
    expect(declared.length).toBeGreaterThan(20);
    // Its content is DROP_REASONS.
    expect(declared.filter((name) => !known.has(name))).toEqual(['drop_reason_texts']);
  });

  it('has the settings of bpf/lib/config.h with their defaults and sentences', () => {
    const text = readFileSync(join(root, 'bpf/lib/config.h'), 'utf8');
    const declared = [...text.matchAll(/^CONFIG\(__(\w+), (\w+), (\d+),\s*"(.*)"\);$/gm)].map(
      ([, type, name, value, doc]) => ({ name, type, default: Number(value), doc }),
    );
    expect(declared.length).toBeGreaterThan(5);
    expect(
      Object.values(abi.CONFIG).map((setting) => ({
        name: setting.name,
        type: setting.type,
        default: setting.default,
        doc: setting.doc,
      })),
    ).toEqual(declared);
  });

  it.each(Object.values(abi.MAPS))('describes $name with codecs of its sizes', (map) => {
    expect('key' in map ? map.key.size : 0).toBe(map.keySize);
    expect('value' in map ? map.value.size : 0).toBe(map.valueSize);
    expect(map.maxEntries).toBeGreaterThan(0);
  });

  it('has the maps of bpf/maps', () => {
    const text = readFileSync(join(root, 'bpf/maps/maps.h'), 'utf8');
    const declared = [...text.matchAll(/^\} (\w+) SEC\("\.maps"\);$/gm)].flatMap((match) => match.slice(1));
    expect(Object.keys(abi.MAPS)).toEqual(declared);
  });
});

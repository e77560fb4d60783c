// From BTF to a plain description of what the kernel and user space share. Knows our conventions (the catalogue
// bpf/abi.bpf.c, pads, CONFIG, DROP_REASONS); knows nothing of TypeScript.
//
// Value = { kind: 'integer', c, bytes, bigEndian } | { kind: 'bytes', c, length }
//       | { kind: 'struct', c, name } | { kind: 'array', c, element: Value, length }

import { memberName } from './names.mjs';

const EXPORTED_STRUCT = 'export_struct_';
const EXPORTED_ENUM = 'export_enum_';
const SETTING = 'config_';
const PAD = /^pad\d*$/;
/** The last word of a value that is told by it to be whole: bpf/abi/seal.h. */
const SEAL = 'seal';
/** The kernel keeps it from user space: reads as zero, and a write leaves it. */
const HIDDEN = 'bpf_spin_lock';

/** Described by its own output, not as a struct. */
const TEXTS_STRUCT = 'drop_reason_texts';
/** The kernel's, exported for its names only. */
const MAP_TYPES_ENUM = 'bpf_map_type';

export function describeAbi(btf, elf) {
  const structs = exported(btf, EXPORTED_STRUCT);
  const enums = exported(btf, EXPORTED_ENUM);
  const find = (types, name) => {
    const type = types.find((candidate) => candidate.name === name);
    if (type === undefined) throw new Error(`bpf/abi.bpf.c does not export ${name}`);
    return type;
  };
  const abi = {
    structs: structs.filter((type) => type.name !== TEXTS_STRUCT).map((type) => describeStruct(btf, type)),
    enums: enums.filter((type) => type.name !== MAP_TYPES_ENUM).map(describeEnum),
    maps: btf.section('.maps').map((variable) => describeMap(btf, variable, find(enums, MAP_TYPES_ENUM))),
    settings: btf.variables(SETTING).map((variable) => describeSetting(btf, elf, variable)),
    dropReasons: describeDropReasons(btf, find(enums, 'drop_reason'), find(structs, TEXTS_STRUCT)),
  };
  checkStructsKnown(abi);
  return abi;
}

/** What `EXPORT(kind, name)` of the catalogue points to. */
function exported(btf, prefix) {
  return btf.variables(prefix).map((variable) => {
    const type = btf.bare(btf.bare(variable.type_id).type_id);
    if (type.name !== variable.name.slice(prefix.length))
      throw new Error(`${variable.name} exports ${type.name}`);
    return type;
  });
}

function describeStruct(btf, type) {
  const members = type.members.map((member) => {
    if (member.bitfield_size || member.bits_offset % 8 !== 0) {
      throw new Error(`struct ${type.name}: bit fields are not supported (${member.name})`);
    }
    return { name: member.name, offset: member.bits_offset / 8, size: btf.size(member.type_id), member };
  });
  checkNoHoles(type, members);
  const isSealed = members.some(({ name }) => name === SEAL);
  if (isSealed) checkSeal(type, members);
  return {
    name: type.name,
    size: type.size,
    isSealed,
    fields: members
      .filter(
        ({ name, member }) => !PAD.test(name) && name !== SEAL && btf.bare(member.type_id).name !== HIDDEN,
      )
      .map(({ name, offset, member }) => ({ name, offset, value: describeValue(btf, member.type_id) })),
  };
}

/** -Wpadded refuses this already; a reader of the output relies on it, so it is checked where it is read. */
function checkNoHoles(type, members) {
  let end = 0;
  for (const { name, offset, size } of members) {
    if (offset !== end) throw new Error(`struct ${type.name} has a hole before ${name}`);
    end += size;
  }
  if (end !== type.size) throw new Error(`struct ${type.name} has a hole at its end`);
}

function checkSeal(type, members) {
  const { name, size } = members.at(-1);
  if (name !== SEAL || size !== 4 || type.size % 8 !== 0)
    throw new Error(`struct ${type.name}: a seal is the last 4 bytes of a multiple of 8`);
}

function describeValue(btf, id) {
  const type = btf.bare(id);
  const c = btf.spelling(id);
  switch (type.kind) {
    case 'INT':
      return { kind: 'integer', c, bytes: type.size, bigEndian: c.startsWith('__be') };
    case 'STRUCT':
      return { kind: 'struct', c: `struct ${type.name}`, name: type.name };
    case 'ARRAY': {
      const element = describeValue(btf, type.type_id);
      const spelled = `${element.c}[${type.nr_elems}]`;
      if (element.kind === 'integer' && element.bytes === 1)
        return { kind: 'bytes', c: spelled, length: type.nr_elems };
      return { kind: 'array', c: spelled, element, length: type.nr_elems };
    }
    default:
      throw new Error(`a shared value cannot be of kind ${type.kind} (${c})`);
  }
}

function describeEnum(type) {
  return {
    name: type.name,
    members: type.values.map(({ name, val }) => ({ name: memberName(type.name, name), value: val })),
  };
}

/**
 * A map's definition is a struct whose members encode numbers as the length of an array (`__uint`) and types
 * as pointers (`__type`): see libbpf's bpf_helpers.h.
 */
function describeMap(btf, variable, mapTypes) {
  const members = new Map(
    btf.bare(variable.type_id).members.map((member) => [member.name, btf.bare(member.type_id)]),
  );
  const number = (name) => (members.has(name) ? btf.bare(members.get(name).type_id).nr_elems : undefined);
  const target = (name) => (members.has(name) ? members.get(name).type_id : undefined);
  const key = target('key');
  const value = target('value');
  const type = number('type');
  const typeName = mapTypes.values.find((entry) => entry.val === type)?.name;
  if (typeName === undefined) throw new Error(`map ${variable.name} has the unknown type ${type}`);
  return {
    name: variable.name,
    type,
    typeName: typeName.replace('BPF_MAP_TYPE_', '').toLowerCase(),
    keySize: key === undefined ? (number('key_size') ?? 0) : btf.size(key),
    valueSize: value === undefined ? (number('value_size') ?? 0) : btf.size(value),
    maxEntries: number('max_entries') ?? 0,
    flags: number('map_flags') ?? 0,
    key: key === undefined ? undefined : describeValue(btf, key),
    value: value === undefined ? undefined : describeValue(btf, value),
  };
}

function describeSetting(btf, elf, variable) {
  const doc = btf.doc(variable.id);
  if (!doc) throw new Error(`the setting ${variable.name} has no sentence (bpf/lib/config.h)`);
  const value = describeValue(btf, variable.type_id);
  if (value.kind !== 'integer') throw new Error(`the setting ${variable.name} is no integer`);
  const bytes = elf.bytes(variable.name);
  if (bytes.length !== value.bytes) throw new Error(`the setting ${variable.name} has ${bytes.length} bytes`);
  const initial = BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
  return { name: variable.name.slice(SETTING.length), variable: variable.name, value, initial, doc };
}

/** Enumerators and their texts come from one list in C; a gap, a repeat or a missing text is refused. */
function describeDropReasons(btf, reasons, texts) {
  const text = new Map(texts.members.map((member, index) => [member.name, btf.doc(texts.id, index)]));
  const list = reasons.values
    .filter(({ name }) => name !== 'DROP_REASON_COUNT')
    .map(({ name, val }) => ({ value: val, name: memberName('drop_reason', name), text: text.get(name) }));
  for (const [index, reason] of list.entries()) {
    if (!reason.text) throw new Error(`the drop reason ${reason.name} has no text`);
    if (reason.value !== index)
      throw new Error(`the drop reason ${reason.name} is ${reason.value}, not ${index}`);
  }
  return list;
}

/** A map or struct may only contain structs that the catalogue exports. */
function checkStructsKnown(abi) {
  const known = new Set(abi.structs.map((struct) => struct.name));
  const check = (value, user) => {
    if (value?.kind === 'array') check(value.element, user);
    if (value?.kind === 'struct' && !known.has(value.name)) {
      throw new Error(`${user} uses struct ${value.name}: export it in bpf/abi.bpf.c`);
    }
  };
  for (const struct of abi.structs)
    for (const field of struct.fields) check(field.value, `struct ${struct.name}`);
  for (const map of abi.maps) for (const value of [map.key, map.value]) check(value, `map ${map.name}`);
}

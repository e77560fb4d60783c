// Reads the BTF of an object file through bpftool and answers questions about its types.

import { execFileSync } from 'node:child_process';

/** @param {string} path of an object file with BTF */
export function readBtf(path) {
  // Debian keeps bpftool in /usr/sbin, which is not in an ordinary user's PATH.
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  const json = execFileSync('bpftool', ['-j', 'btf', 'dump', 'file', path], { env, maxBuffer: 64 << 20 });
  return new Btf(JSON.parse(json.toString()).types);
}

/** Kinds that only wrap another type. */
const WRAPPERS = new Set(['TYPEDEF', 'CONST', 'VOLATILE', 'RESTRICT', 'TYPE_TAG']);
const DOC_PREFIX = 'doc:';

class Btf {
  #byId;
  #docs = new Map();

  constructor(types) {
    this.#byId = new Map(types.map((type) => [type.id, type]));
    for (const tag of types) {
      if (tag.kind !== 'DECL_TAG' || !tag.name.startsWith(DOC_PREFIX)) continue;
      this.#docs.set(`${tag.type_id}/${tag.component_idx}`, tag.name.slice(DOC_PREFIX.length));
    }
  }

  type(id) {
    const type = this.#byId.get(id);
    if (type === undefined) throw new Error(`BTF has no type ${id}`);
    return type;
  }

  /** The type behind typedefs and qualifiers. */
  bare(id) {
    let type = this.type(id);
    while (WRAPPERS.has(type.kind)) type = this.type(type.type_id);
    return type;
  }

  /** The first typedef on the way to the bare type (`__be16`), or the bare type's own name. */
  spelling(id) {
    let type = this.type(id);
    while (WRAPPERS.has(type.kind) && type.kind !== 'TYPEDEF') type = this.type(type.type_id);
    return type.name;
  }

  /** Size in bytes of a value of this type. */
  size(id) {
    const type = this.bare(id);
    if (type.kind === 'ARRAY') return type.nr_elems * this.size(type.type_id);
    if (type.size === undefined) throw new Error(`BTF type ${type.kind} '${type.name}' has no size`);
    return type.size;
  }

  /** The DOC() sentence of a variable or type, or of one member of a struct (by index). */
  doc(id, member = -1) {
    return this.#docs.get(`${id}/${member}`) ?? this.#docs.get(`${id}/${member >>> 0}`);
  }

  /** Global variables whose name starts with the prefix, in the order of their declaration. */
  variables(prefix) {
    return [...this.#byId.values()].filter((type) => type.kind === 'VAR' && type.name.startsWith(prefix));
  }

  /** The variables of a section such as `.maps`, in the order of their declaration. */
  section(name) {
    const section = [...this.#byId.values()].find((type) => type.kind === 'DATASEC' && type.name === name);
    return section === undefined ? [] : section.vars.map((entry) => this.type(entry.type_id));
  }
}

import { Closable } from './closable.js';
import { native, type ObjectHandle } from './functions.js';
import { BpfMap } from './map.js';
import { BpfProgram } from './program.js';

export interface LoadOptions {
  /**
   * Directory on a bpffs, made if missing. Maps that ask to be pinned by name are pinned in it, or adopted
   * from it when they are alike in all sizes and flags. Without it nothing is pinned.
   */
  pinRoot?: string;
}

/** A BPF object file. open() parses it, the kernel sees it in load(), which is once. */
export class BpfObject extends Closable<ObjectHandle> {
  /** @throws KernelError when the file is missing or no BPF object. */
  static open(path: string): BpfObject {
    return new BpfObject(native.objectOpen(path));
  }

  get programNames(): string[] {
    return native.objectProgramNames(this.handle);
  }

  /** With the internal ones: `.rodata.x` for sections of their own, else named after the object's file. */
  get mapNames(): string[] {
    return native.objectMapNames(this.handle);
  }

  /**
   * Sets a `const volatile` variable (any section .rodata*), before the load.
   * @param bytes in the layout of the variable; another size is a RangeError.
   * @throws KernelError ENOENT when there is no such variable, EPERM after the load.
   */
  setVariable(name: string, bytes: Uint8Array): void {
    native.objectSetVariable(this.handle, name, bytes);
  }

  /** Before the load. */
  setMaxEntries(map: string, entries: number): void {
    native.objectSetMaxEntries(this.handle, map, entries);
  }

  /**
   * Takes the maps that it would pin by their names from the program, whatever is pinned; before the load, which then
   * makes none of them.
   */
  shareMaps(program: BpfProgram): void {
    native.objectShareMaps(this.handle, BpfProgram.handleOf(program));
  }

  /**
   * Creates or adopts the maps, loads the programs, on a worker thread. When it fails, maps that it made are
   * gone.
   * @throws VerifierError when the verifier refuses a program.
   * @throws KernelError EEXIST, naming map and differences, when a pinned map cannot be adopted.
   */
  load(options: LoadOptions = {}): Promise<void> {
    return native.objectLoad(this.handle, options.pinRoot);
  }

  /** A handle of its own, which outlives the object. */
  program(name: string): BpfProgram {
    return BpfProgram.fromHandle(native.objectProgram(this.handle, name));
  }

  /** A handle of its own, which outlives the object. */
  map(name: string): BpfMap {
    return BpfMap.fromHandle(native.objectMap(this.handle, name));
  }
}

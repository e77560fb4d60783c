/** Seals: the last word of values that programs read while they are replaced (bpf/abi/seal.h). */

export interface SealShape {
  readonly FACTOR: number;
  readonly PLACE: number;
}

/** The factor to the power of each word's place: lower and upper half of each. */
function powersOf({ FACTOR, PLACE }: SealShape, words: number): { lower: Uint32Array; upper: Uint32Array } {
  const lower = new Uint32Array(words);
  const upper = new Uint32Array(words);
  let power = BigInt(FACTOR) ** BigInt(PLACE);
  for (let word = 0; word < words; word++) {
    lower[word] = Number(BigInt.asUintN(32, power));
    upper[word] = Number(BigInt.asUintN(32, power >> 32n));
    power = BigInt.asUintN(64, power * BigInt(FACTOR));
  }
  return { lower, upper };
}

/** Upper half of the product of two words of 32 bits. */
function productUpper(a: number, b: number): number {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const other = a0 * b1 + (middle & 0xffff);
  return a1 * b1 + (middle >>> 16) + (other >>> 16);
}

/**
 * Returns what writes the seal into a value of `size` bytes, a multiple of 8, whose other bytes are there already. In halves
 * of 32 bits, since a large policy has a million of them.
 */
export function sealer(shape: SealShape, size: number): (view: DataView, at: number) => void {
  const words = size / 8;
  if (!Number.isInteger(words)) throw new RangeError(`${size} bytes are no whole words`);
  const powers = powersOf(shape, words);
  return (view, at) => {
    let lower = 0;
    let upper = 0;
    for (let word = 0; word < words; word++) {
      const place = at + word * 8;
      const high = word === words - 1 ? 0 : view.getUint32(place + 4, true);
      const low = (view.getUint32(place, true) ^ high) >>> 0;
      const powerLower = powers.lower[word] as number;
      lower += Math.imul(low, powerLower) >>> 0;
      upper += productUpper(low, powerLower);
      upper += (Math.imul(low, powers.upper[word] as number) >>> 0) + (Math.imul(high, powerLower) >>> 0);
    }
    // Of far fewer than 2^20 words the sums are exact.
    view.setUint32(at + size - 4, (upper + Math.floor(lower / 2 ** 32)) % 2 ** 32, true);
  };
}

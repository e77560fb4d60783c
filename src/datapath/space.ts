/** Room in an array of the kernel: parts of it that are taken and given back. Pure. */
export class Space {
  /** Free parts by where they start, none of which touch: start, then end. */
  private free: { start: number; end: number }[];

  constructor(readonly size: number) {
    this.free = size > 0 ? [{ start: 0, end: size }] : [];
  }

  /** Where a part of that length starts; undefined: there is none. */
  take(length: number): number | undefined {
    if (length === 0) return 0;
    const index = this.free.findIndex(({ start, end }) => end - start >= length);
    const found = this.free[index];
    if (found === undefined) return undefined;
    const { start } = found;
    found.start += length;
    if (found.start === found.end) this.free.splice(index, 1);
    return start;
  }

  /** Takes exactly that part. False: some of it is taken, or is outside. */
  claim(start: number, length: number): boolean {
    if (length === 0) return true;
    const end = start + length;
    const index = this.free.findIndex((part) => part.start <= start && end <= part.end);
    const found = this.free[index];
    if (found === undefined) return false;
    const rest = [
      { start: found.start, end: start },
      { start: end, end: found.end },
    ].filter((part) => part.start < part.end);
    this.free.splice(index, 1, ...rest);
    return true;
  }

  give(start: number, length: number): void {
    if (length === 0) return;
    const end = start + length;
    const after = this.free.findIndex((part) => part.start >= end);
    const at = after === -1 ? this.free.length : after;
    const [left, right] = [this.free[at - 1], this.free[at]];
    const from = left?.end === start ? left.start : start;
    const to = right?.start === end ? right.end : end;
    this.free.splice(
      at - (left?.end === start ? 1 : 0),
      Number(left?.end === start) + Number(right?.start === end),
      {
        start: from,
        end: to,
      },
    );
  }
}

/** What a series of measurements comes to. */

/** The value below which that share (0 to 1) of the values lies; one of those that were measured. */
export function quantile(values, share) {
  if (values.length === 0) throw new Error('nothing was measured');
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** The middle value, or the mean of the two in the middle. */
export function median(values) {
  const sorted = values.toSorted((left, right) => left - right);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

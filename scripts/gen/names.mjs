// How C names become TypeScript names.

/** conntrack_key -> ConntrackKey */
export function pascalCase(snake) {
  return snake.replace(/(?:^|_)([a-z0-9])/g, (_, letter) => letter.toUpperCase());
}

/** address_a -> addressA */
export function camelCase(snake) {
  return snake.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
}

/**
 * An enumerator without the words of its enum's name, since TypeScript writes `Direction.EGRESS`:
 * (drop_reason, DROP_TRUNCATED) -> TRUNCATED; (identity, FIRST_IDENTITY) -> FIRST_IDENTITY
 */
export function memberName(enumName, enumerator) {
  const words = enumName.toUpperCase().split('_');
  const prefixes = words.flatMap((_, start) =>
    words.slice(start).map((_, length) => `${words.slice(start, start + length + 1).join('_')}_`),
  );
  const longestFirst = prefixes.sort((a, b) => b.length - a.length);
  const prefix = longestFirst.find((candidate) => enumerator.startsWith(candidate)) ?? '';
  return enumerator.slice(prefix.length);
}

/** A place in the log: its time, its number, and the epoch if the first two do not identify it. */
const LOGGED = /^(\d+)-(\d+)(\.[^~]*)?$/;

/**
 * Whether a position is at or before another one. False if their texts do not prove it.
 *
 * Ids of one epoch ascend, and ids without an epoch are above those of all earlier ones. A place
 * beside the log proves nothing here: each node has its own, and a reset may follow it.
 */
export function isAtOrBefore(first = '', second = ''): boolean {
  const one = LOGGED.exec(first);
  const other = LOGGED.exec(second);
  if (!one || !other || one[3] !== other[3]) return false;
  // The numbers have up to 64 bits.
  const [time, number] = [1, 2].map((part) => BigInt(other[part]!) - BigInt(one[part]!));
  return (time || number!) >= 0n;
}

// Bytes, as the oracles write them: big-endian numbers, lower-case hex.

export function fromHex(text) {
  if (text.length % 2 || /[^0-9a-f]/i.test(text)) throw new RangeError("not hex: " + text.slice(0, 20));
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => parseInt(text.substr(2 * i, 2), 16));
}

export const toHex = (data) => Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");

export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export const toBigInt = (data) => (data.length ? BigInt("0x" + toHex(data)) : 0n);

export const fromText = (text) => new TextEncoder().encode(text);

/** Whether two byte strings are the same. */
export const equal = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

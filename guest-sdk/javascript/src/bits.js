/** Bitmaps, least significant bit first. */

// The eight bytes of each byte's bits, as one number of 64 bits: so a byte is unpacked in one step.
const eights = new Float64Array(256);
{
  const bytes = new Uint8Array(eights.buffer);
  for (let byte = 0; byte < 256; byte++) {
    for (let bit = 0; bit < 8; bit++) bytes[byte * 8 + bit] = (byte >> bit) & 1;
  }
}

/** A byte of 0 or 1 for each of the first `count` bits. */
export function unpack(bitmap, count) {
  const whole = (count + 7) >> 3;
  const out = new Float64Array(whole);
  for (let at = 0; at < whole; at++) out[at] = eights[bitmap[at]];
  return new Uint8Array(out.buffer, 0, count);
}

/** The bitmap of bytes that are 0 or 1. */
export function pack(flags) {
  const count = flags.length;
  const out = new Uint8Array((count + 7) >> 3);
  for (let at = 0; at < count; at++) if (flags[at]) out[at >> 3] |= 1 << (at & 7);
  return out;
}

/** Whether all of the first `count` bits are set. */
export function isFull(bitmap, count) {
  const whole = count >> 3;
  for (let at = 0; at < whole; at++) if (bitmap[at] !== 255) return false;
  const rest = (1 << (count & 7)) - 1;
  return rest === 0 || (bitmap[whole] & rest) === rest;
}

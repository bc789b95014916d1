/**
 * UTF-8. There is no TextDecoder inside a component, and a loop over characters is slow, so the engine's
 * own functions do the work wherever there is one.
 */

import { Failure } from "./failures.js";

const CHUNK = 4096;

/** Bytes as a string of as many characters, each below 256. */
function binaryString(bytes) {
  if (bytes.length <= CHUNK) return String.fromCharCode.apply(null, bytes);
  const parts = [];
  for (let at = 0; at < bytes.length; at += CHUNK) {
    parts.push(String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK)));
  }
  return parts.join("");
}

const beyondAscii = /[^\0-\x7f]/;

/** The strings between offsets. */
export function decode(bytes, offsets, count) {
  const binary = binaryString(bytes);
  const out = new Array(count);
  if (!beyondAscii.test(binary)) {
    for (let row = 0; row < count; row++) out[row] = binary.slice(offsets[row], offsets[row + 1]);
    return out;
  }
  for (let row = 0; row < count; row++) {
    const slice = binary.slice(offsets[row], offsets[row + 1]);
    // `escape` writes each byte as %XX, and `decodeURIComponent` reads that as UTF-8.
    out[row] = beyondAscii.test(slice) ? decodeURIComponent(escape(slice)) : slice;
  }
  return out;
}

/** Strings as bytes and offsets. Throws on half a surrogate pair, which UTF-8 cannot hold. */
export function encode(strings) {
  const offsets = new Int32Array(strings.length + 1);
  const encoded = new Array(strings.length);
  let length = 0;
  for (let row = 0; row < strings.length; row++) {
    let text = strings[row];
    if (beyondAscii.test(text)) {
      try {
        text = unescape(encodeURIComponent(text));
      } catch {
        throw new Failure("it has half of a surrogate pair, which is no character");
      }
    }
    encoded[row] = text;
    length += text.length;
    offsets[row + 1] = length;
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const text of encoded) {
    for (let index = 0; index < text.length; index++) bytes[at++] = text.charCodeAt(index);
  }
  return { bytes, offsets };
}

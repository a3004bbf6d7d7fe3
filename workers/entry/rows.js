// The rows of a query as one run of bytes: reading them in Rust value by value takes several times as long.
//
// Each value is a tag and what follows from it; durable-objects/src/storage.rs reads them.

const NULL = 0;
const NUMBER = 1;
const TEXT = 2;
const BLOB = 3;
const END_OF_ROW = 4;
/** There may be more rows. */
const CUT = 5;

/** A buffer that has grown beyond this is given back, in bytes. */
const LARGE = 1 << 20;

const encoder = new TextEncoder();
let bytes = new Uint8Array(1 << 16);
let view = new DataView(bytes.buffer);
let at = 0;

function reserve(length) {
  if (at + length <= bytes.length) return;
  const larger = new Uint8Array(Math.max(2 * bytes.length, at + length));
  larger.set(bytes.subarray(0, at));
  bytes = larger;
  view = new DataView(bytes.buffer);
}

function put(value) {
  if (value === null) {
    reserve(1);
    bytes[at++] = NULL;
  } else if (typeof value === "number") {
    reserve(9);
    bytes[at] = NUMBER;
    view.setFloat64(at + 1, value, true);
    at += 9;
  } else if (typeof value === "string") {
    // a character of UTF-16 takes at most three bytes of UTF-8
    reserve(5 + 3 * value.length);
    bytes[at] = TEXT;
    const { written } = encoder.encodeInto(value, bytes.subarray(at + 5));
    view.setUint32(at + 1, written, true);
    at += 5 + written;
  } else {
    const blob = new Uint8Array(value);
    reserve(5 + blob.length);
    bytes[at] = BLOB;
    view.setUint32(at + 1, blob.length, true);
    bytes.set(blob, at + 5);
    at += 5 + blob.length;
  }
}

/** Packs what the cursor gives, and stops behind the row with which `limit` bytes are reached. Valid until the next call. */
export function packRows(cursor, limit) {
  if (bytes.length > LARGE) {
    bytes = new Uint8Array(1 << 16);
    view = new DataView(bytes.buffer);
  }
  at = 0;
  for (const row of cursor.raw()) {
    for (const value of row) put(value);
    reserve(2);
    bytes[at++] = END_OF_ROW;
    if (at >= limit) {
      bytes[at++] = CUT;
      break;
    }
  }
  return bytes.subarray(0, at);
}

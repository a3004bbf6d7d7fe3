// The keys of a local platform: the first access key, which may do everything, and the secret from which the rest is derived.

import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** In the shape of AWS's keys, since clients check it: 20 characters from `AKIA` on, and 40. */
export function generate() {
  const id = Array.from(randomBytes(16), (byte) => BASE32[byte & 31]).join("");
  return {
    accessKeyId: `AKIA${id}`,
    secretAccessKey: randomBytes(30).toString("base64"),
    masterSecret: randomBytes(32).toString("hex"),
  };
}

/** The credentials in `path`, generated at the first start, so that clients keep working over restarts. */
export function loadOrCreate(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    if (error.code !== "ENOENT") throw new Error(`cannot read ${path}: ${error.message}`);
  }
  const credentials = generate();
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(credentials, null, 2)}\n`, { mode: 0o600, flag: "wx" });
  return credentials;
}

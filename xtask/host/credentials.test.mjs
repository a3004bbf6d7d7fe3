import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { generate, loadOrCreate } from "./credentials.mjs";

test("generated keys have the shape that AWS clients expect and differ each time", () => {
  const [first, second] = [generate(), generate()];
  assert.match(first.accessKeyId, /^AKIA[A-Z2-7]{16}$/);
  assert.equal(first.secretAccessKey.length, 40);
  assert.match(first.masterSecret, /^[0-9a-f]{64}$/);
  assert.notDeepEqual(first, second);
});

test("credentials are kept over restarts, readable by their owner only, and never silently replaced", () => {
  const directory = mkdtempSync(join(tmpdir(), "umbra-credentials-"));
  try {
    const path = join(directory, "deep", "credentials.json");
    const created = loadOrCreate(path);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(loadOrCreate(path), created);
    writeFileSync(path, "{");
    assert.throws(() => loadOrCreate(path), /credentials\.json/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

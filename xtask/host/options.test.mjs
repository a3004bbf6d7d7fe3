import assert from "node:assert/strict";
import { test } from "node:test";
import { checkSupported, miniflareOptions } from "./options.mjs";

const wrangler = {
  name: "umbra",
  compatibility_date: "2026-07-30",
  durable_objects: {
    bindings: [
      { name: "BROKER", class_name: "Broker" },
      { name: "OLD", class_name: "KeyValueBacked" },
    ],
  },
  migrations: [{ tag: "v1", new_sqlite_classes: ["Broker"] }],
  d1_databases: [{ binding: "REGISTRY_0", database_name: "umbra-registry-0", migrations_dir: "migrations" }],
  queues: {
    producers: [{ binding: "RULE_ACTIONS", queue: "rule-actions" }],
    consumers: [{ queue: "rule-actions", max_batch_size: 100, max_batch_timeout: 1, dead_letter_queue: "dead" }],
  },
  vars: { COMPAT: "standard", BROKERS: "3" },
};
const given = { buildDir: "/b", stateDir: "/s", port: 0, bindings: { BROKERS: "7", MASTER_SECRET: "x" }, tls: null };

test("a binding given by the host wins over a var of wrangler.toml", () => {
  const { bindings } = miniflareOptions(wrangler, given);
  assert.deepEqual(bindings, { COMPAT: "standard", BROKERS: "7", BROKERS_MAXIMUM: "7", MASTER_SECRET: "x" });
});

test("the number of Brokers is fixed unless the host is told otherwise", () => {
  const maximum = (vars, bindings) =>
    miniflareOptions({ ...wrangler, vars }, { ...given, bindings }).bindings.BROKERS_MAXIMUM;
  assert.equal(maximum({ BROKERS: "3", BROKERS_MAXIMUM: "512" }, {}), "3");
  assert.equal(maximum({ BROKERS: "3", BROKERS_MAXIMUM: "512" }, { BROKERS: "5" }), "5");
  assert.equal(maximum({ BROKERS: "3", BROKERS_MAXIMUM: "512" }, { BROKERS_MAXIMUM: "8" }), "8");
  assert.equal(maximum({}, {}), undefined);
});

test("the version is the same with each start", () => {
  const binding = () =>
    miniflareOptions({ ...wrangler, version_metadata: { binding: "V" } }, given).bindings.V;
  assert.equal(binding().id, "local");
  assert.deepEqual(binding(), binding());
  assert.equal("CF_VERSION_METADATA" in miniflareOptions(wrangler, given).bindings, false);
});

test("only classes declared in new_sqlite_classes use sqlite", () => {
  assert.deepEqual(miniflareOptions(wrangler, given).durableObjects, {
    BROKER: { className: "Broker", useSQLite: true },
    OLD: { className: "KeyValueBacked", useSQLite: false },
  });
});

test("queue settings are passed on and absent ones stay absent", () => {
  const options = miniflareOptions(wrangler, given);
  assert.deepEqual(options.queueProducers, { RULE_ACTIONS: { queueName: "rule-actions" } });
  assert.deepEqual(options.queueConsumers, {
    "rule-actions": { maxBatchSize: 100, maxBatchTimeout: 1, deadLetterQueue: "dead" },
  });
});

test("certificate paths appear only with tls", () => {
  assert.equal("httpsKeyPath" in miniflareOptions(wrangler, given), false);
  const tls = { keyPath: "k.pem", certPath: "c.pem" };
  assert.equal(miniflareOptions(wrangler, { ...given, tls }).httpsCertPath, "c.pem");
});

test("a section that is not mapped stops the start", () => {
  assert.throws(() => checkSupported({ ...wrangler, hyperdrive: [] }), /\[hyperdrive\]/);
});

test("a compatibility date that workerd does not know stops the start", () => {
  assert.throws(() => checkSupported({ ...wrangler, compatibility_date: "2026-07-31" }), /at most 2026-07-30/);
  assert.throws(() => checkSupported({ ...wrangler, compatibility_date: undefined }), /compatibility_date/);
});

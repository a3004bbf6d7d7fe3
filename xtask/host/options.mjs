// wrangler.toml, as JSON, to Miniflare 4 options. Pure: no file is read here, so that it can be tested as data in, data out.

/** An error whose message says all: it is shown without a stack. */
export class Refusal extends Error {}

/** What wrangler.toml may contain. A section that nobody mapped must stop the start, not vanish: what runs here has to be what is deployed. */
const KNOWN_SECTIONS = new Set([
  "name",
  "main",
  "compatibility_date",
  "compatibility_flags",
  "build",
  "no_bundle",
  "find_additional_modules",
  "base_dir",
  "rules",
  "workers_dev",
  "observability",
  "durable_objects",
  "migrations",
  "d1_databases",
  "queues",
  "triggers",
  "vars",
  "version_metadata",
  "ratelimits",
]);

/** The newest date that the pinned workerd knows. */
const NEWEST_COMPATIBILITY_DATE = "2026-07-30";

/** Throws, with the name of the culprit, when `wrangler` says something that this host would not honour. */
export function checkSupported(wrangler) {
  for (const section of Object.keys(wrangler)) {
    if (!KNOWN_SECTIONS.has(section)) {
      throw new Refusal(`wrangler.toml has [${section}], which the local host does not map: add it to xtask/host/options.mjs`);
    }
  }
  if (!(wrangler.compatibility_date <= NEWEST_COMPATIBILITY_DATE)) {
    throw new Refusal(
      `wrangler.toml: compatibility_date must be at most ${NEWEST_COMPATIBILITY_DATE}, the newest that the pinned workerd knows, not ${wrangler.compatibility_date}`,
    );
  }
}

/** The class names that SQLite-backed storage was declared for. */
export function sqliteClasses(wrangler) {
  return new Set((wrangler.migrations ?? []).flatMap((migration) => migration.new_sqlite_classes ?? []));
}

/** Variables and secrets. What runs on a laptop has as many Brokers as it was told to have, unless it is told that they may become more. */
function bindings(wrangler, given) {
  const vars = { ...(wrangler.vars ?? {}), ...given };
  if (vars.BROKERS !== undefined && given.BROKERS_MAXIMUM === undefined) vars.BROKERS_MAXIMUM = vars.BROKERS;
  const version = wrangler.version_metadata?.binding;
  // Miniflare would make up another version with each start.
  return version === undefined ? vars : { ...vars, [version]: { id: "local", tag: "", timestamp: "" } };
}

function durableObjects(wrangler) {
  const sqlite = sqliteClasses(wrangler);
  return Object.fromEntries(
    (wrangler.durable_objects?.bindings ?? []).map(({ name, class_name: className }) => [
      name,
      { className, useSQLite: sqlite.has(className) },
    ]),
  );
}

function queueConsumers(wrangler) {
  return Object.fromEntries(
    (wrangler.queues?.consumers ?? []).map((consumer) => [
      consumer.queue,
      withoutUndefined({
        maxBatchSize: consumer.max_batch_size,
        maxBatchTimeout: consumer.max_batch_timeout,
        maxRetries: consumer.max_retries,
        deadLetterQueue: consumer.dead_letter_queue,
        retryDelay: consumer.retry_delay,
      }),
    ]),
  );
}

function withoutUndefined(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

/**
 * @param wrangler wrangler.toml as JSON
 * @param given { buildDir, stateDir, port, bindings, tls: {keyPath, certPath} | null }
 */
export function miniflareOptions(wrangler, given) {
  checkSupported(wrangler);
  return {
    name: wrangler.name,
    host: "127.0.0.1",
    port: given.port,
    // no request to the outside for the sample `request.cf`
    cf: false,
    compatibilityDate: wrangler.compatibility_date,
    compatibilityFlags: wrangler.compatibility_flags ?? [],
    modulesRoot: given.buildDir,
    modules: [
      { type: "ESModule", path: `${given.buildDir}/index.js` },
      { type: "CompiledWasm", path: `${given.buildDir}/umbra_bg.wasm` },
    ],
    bindings: bindings(wrangler, given.bindings),
    durableObjects: durableObjects(wrangler),
    durableObjectsPersist: `${given.stateDir}/durable-objects`,
    d1Databases: Object.fromEntries((wrangler.d1_databases ?? []).map((d1) => [d1.binding, d1.database_name])),
    d1Persist: `${given.stateDir}/d1`,
    cache: false,
    queueProducers: Object.fromEntries(
      (wrangler.queues?.producers ?? []).map(({ binding, queue, delivery_delay: deliveryDelay }) => [
        binding,
        withoutUndefined({ queueName: queue, deliveryDelay }),
      ]),
    ),
    queueConsumers: queueConsumers(wrangler),
    ratelimits: Object.fromEntries((wrangler.ratelimits ?? []).map(({ name, namespace_id, simple }) => [name, { namespace_id, simple }])),
    ...(given.tls ? { httpsKeyPath: given.tls.keyPath, httpsCertPath: given.tls.certPath } : {}),
  };
}

// Runs the floors (worker.mjs) in workerd through miniflare, on a port of its choice on 127.0.0.1.
//
// stdout: one line of JSON when it is ready. It ends when stdin is closed, or at SIGTERM or SIGINT.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Log, LogLevel, Miniflare } from "miniflare";

// the same date as the deployed Worker, so that both run under the same rules
const wranglerToml = readFileSync(join(import.meta.dirname, "../../wrangler.toml"), "utf8");
const compatibilityDate = /^compatibility_date = "(.*)"$/m.exec(wranglerToml)[1];

class StderrLog extends Log {
  log(message) {
    process.stderr.write(`${message}\n`);
  }
}

const miniflare = new Miniflare({
  name: "relay",
  host: "127.0.0.1",
  port: 0,
  cf: false,
  cache: false,
  compatibilityDate,
  modules: true,
  modulesRoot: import.meta.dirname,
  scriptPath: join(import.meta.dirname, "worker.mjs"),
  modulesRules: [{ type: "ESModule", include: ["**/*.mjs"] }],
  durableObjects: Object.fromEntries(
    ["One", "Two", "Four", "Connect", "Retained"].map((className) => [
      className.toUpperCase(),
      { className, useSQLite: true },
    ]),
  ),
  log: new StderrLog(LogLevel.WARN),
});

let stopping = false;
async function stop() {
  if (stopping) return;
  stopping = true;
  setTimeout(() => process.exit(1), 2_500).unref();
  await miniflare.dispose();
  process.exit(0);
}
process.stdin.on("end", stop).resume();
process.on("SIGTERM", stop);
process.on("SIGINT", stop);

const { host } = await miniflare.ready;
process.stdout.write(`${JSON.stringify({ floors: `ws://${host}` })}\n`);

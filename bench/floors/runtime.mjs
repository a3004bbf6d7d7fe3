// What the programs have in common that run floors in workerd through miniflare.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Log, LogLevel } from "miniflare";

class StderrLog extends Log {
  log(message) {
    process.stderr.write(`${message}\n`);
  }
}

const wranglerToml = readFileSync(join(import.meta.dirname, "../../wrangler.toml"), "utf8");

/** Options of every Miniflare: the same date as the deployed Worker, so that both run under the same rules. */
export const COMMON = {
  host: "127.0.0.1",
  cf: false,
  cache: false,
  compatibilityDate: /^compatibility_date = "(.*)"$/m.exec(wranglerToml)[1],
  modules: true,
  log: new StderrLog(LogLevel.WARN),
};

/** Calls `dispose` and exits when stdin is closed, or at SIGTERM or SIGINT. */
export function endWith(dispose) {
  let stopping = false;
  async function stop() {
    if (stopping) return;
    stopping = true;
    setTimeout(() => process.exit(1), 2_500).unref();
    await dispose();
    process.exit(0);
  }
  process.stdin.on("end", stop).resume();
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}

// One running Umbra: the built Worker in Miniflare/workerd, its database migrated, its cron ticking.

import { execFileSync } from "node:child_process";
import { createWriteStream, mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { Log, LogLevel, Miniflare } from "miniflare";
import { tickEveryMinute } from "./cron.mjs";
import { applyMigrations } from "./migrations.mjs";
import { Refusal, miniflareOptions } from "./options.mjs";

/** Miniflare's own messages go to stderr: stdout carries the ready line and nothing else. */
class StderrLog extends Log {
  log(message) {
    process.stderr.write(`${message}\n`);
  }
}

/** Workerd's own error for a port in use names neither the port nor the remedy. */
async function assertPortIsFree(port) {
  if (port === 0) return;
  const probe = createServer();
  await new Promise((resolve, reject) => {
    probe.once("error", (error) => {
      const reason = error.code === "EADDRINUSE" ? "is in use" : `cannot be used (${error.code})`;
      reject(new Refusal(`port ${port} ${reason}: stop what uses it, or start with --port 0 to have one picked`));
    });
    probe.listen(port, "127.0.0.1", resolve);
  });
  await new Promise((resolve) => probe.close(resolve));
}

/** Lines of the Worker's JSON log that a person at the terminal should see. */
export function isWorthShowing(line) {
  try {
    return ["warn", "error"].includes(JSON.parse(line).level?.toLowerCase());
  } catch {
    return line.trim() !== "";
  }
}

export class Platform {
  #settings;
  #log;
  #miniflare;
  #stopTicking = () => {};
  /** Calls of `restart` and `kill` run one after the other. */
  #busy = Promise.resolve();
  url;

  /** @param settings { root, wrangler, port, stateDir, bindings, tls, logFile, showLogs, tick } */
  constructor(settings) {
    this.#settings = settings;
    mkdirSync(dirname(settings.logFile), { recursive: true });
    this.#log = createWriteStream(settings.logFile, { flags: "a" });
  }

  async start() {
    const { root, wrangler, port, stateDir, bindings, tls } = this.#settings;
    await assertPortIsFree(port);
    this.#miniflare = new Miniflare({
      ...miniflareOptions(wrangler, { buildDir: join(root, "build"), stateDir, port, bindings, tls }),
      log: new StderrLog(LogLevel.WARN),
      handleRuntimeStdio: (stdout, stderr) => {
        for (const stream of [stdout, stderr]) createInterface({ input: stream }).on("line", (line) => this.#logLine(line));
      },
    });
    this.url = await this.#miniflare.ready;
    // a restart comes back at the same address
    this.#settings = { ...this.#settings, port: Number(this.url.port) };
    for (const d1 of wrangler.d1_databases ?? []) {
      const directory = join(root, d1.migrations_dir ?? "migrations");
      const applied = await applyMigrations(await this.#miniflare.getD1Database(d1.binding), directory);
      if (applied.length > 0) process.stderr.write(`${d1.binding}: applied ${applied.join(", ")}\n`);
    }
    if (this.#settings.tick) {
      this.#stopTicking = tickEveryMinute(wrangler.triggers?.crons ?? [], (cron, time) =>
        this.cron(cron, time).catch((error) => process.stderr.write(`cron ${cron}: ${error.message}\n`)),
      );
    }
  }

  async stop() {
    this.#stopTicking();
    await this.#miniflare?.dispose();
  }

  /** Fires the cron trigger as if it were due at `time`, and waits until its handler is done. */
  async cron(cron, time) {
    const worker = await this.#miniflare.getWorker();
    return worker.scheduled({ cron, scheduledTime: time });
  }

  /** Evicts one object. `webSockets`: "hibernate" (the default) keeps hibernatable ones open, "close" cuts them. */
  async evict(className, name, webSockets = "hibernate") {
    await this.#miniflare.unsafeEvictDurableObject(this.#settings.wrangler.name, className, { name, webSockets });
  }

  /** Ends workerd in good order and starts it again: same address, same persisted state. `vars` replace some, for good, as a deploy does. */
  restart(vars = {}) {
    return this.#exclusively(async () => {
      await this.stop();
      this.#settings = { ...this.#settings, bindings: { ...this.#settings.bindings, ...vars } };
      await this.start();
    });
  }

  /** The same, but workerd gets no chance to finish anything. */
  kill() {
    return this.#exclusively(async () => {
      for (const pid of workerdChildren()) process.kill(pid, "SIGKILL");
      await this.stop();
      await this.start();
    });
  }

  #exclusively(action) {
    this.#busy = this.#busy.catch(() => {}).then(action);
    return this.#busy;
  }

  #logLine(line) {
    this.#log.write(`${line}\n`);
    if (this.#settings.showLogs === "all" || (this.#settings.showLogs === "warnings" && isWorthShowing(line))) {
      process.stderr.write(`${line}\n`);
    }
  }
}

function workerdChildren() {
  return execFileSync("ps", ["-A", "-o", "pid=,ppid=,comm="], { encoding: "utf8" })
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, parent, command]) => Number(parent) === process.pid && command?.includes("workerd"))
    .map(([pid]) => Number(pid));
}

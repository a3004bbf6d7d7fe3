// Runs the platform for `cargo xtask dev` and `cargo xtask test`.
//
// stdin: one line of JSON, the settings; then it stays open for as long as the platform shall run.
// stdout: one line of JSON when everything is ready.
// stderr: narration.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { startControl } from "./control.mjs";
import { generate, loadOrCreate } from "./credentials.mjs";
import { Refusal } from "./options.mjs";
import { Platform } from "./platform.mjs";
import { loadOrCreateCertificate } from "./tls.mjs";

/** Half of what the contract of `dev` gives for ending everything; xtask kills the process group after that. */
const STOP_WITHIN_MILLIS = 2_500;

// nothing below us may write to stdout by accident
console.log = console.info = console.debug = console.error;

const lines = createInterface({ input: process.stdin });
const settings = await new Promise((resolve, reject) => {
  lines.once("line", (line) => resolve(JSON.parse(line)));
  lines.once("close", () => reject(new Error("no settings on stdin")));
});

const home = settings.ephemeral ? mkdtempSync(join(tmpdir(), "umbra-")) : join(settings.root, ".umbra");
const cleanUps = [];
if (settings.ephemeral) cleanUps.push(() => rmSync(home, { recursive: true, force: true, maxRetries: 3 }));

// Miniflare leaves files behind in the temporary directory when it is killed, and some when it is not
process.env.TMPDIR = join(home, "tmp");
const removeTemporaryFiles = () => rmSync(process.env.TMPDIR, { recursive: true, force: true, maxRetries: 3 });
removeTemporaryFiles();
mkdirSync(process.env.TMPDIR, { recursive: true });
cleanUps.push(removeTemporaryFiles);

let stopping = false;
async function stop(code) {
  if (stopping) return;
  stopping = true;
  // whatever hangs below, this process ends in time
  setTimeout(() => process.exit(code || 1), STOP_WITHIN_MILLIS).unref();
  for (const cleanUp of cleanUps.reverse()) {
    try {
      await cleanUp();
    } catch (error) {
      process.stderr.write(`while stopping: ${error.message}\n`);
    }
  }
  process.exit(code);
}
lines.once("close", () => stop(0));
process.on("SIGTERM", () => stop(0));
process.on("SIGINT", () => stop(0));

function startDevice(contract) {
  const env = { ...process.env, ...(contract.ca ? { NODE_EXTRA_CA_CERTS: contract.ca } : {}) };
  const device = spawn(process.execPath, [join(import.meta.dirname, "device.mjs")], { stdio: ["pipe", 2, 2], env });
  device.stdin.on("error", () => {});
  device.stdin.write(`${JSON.stringify(contract)}\n`);
  device.on("exit", (code) => {
    if (!stopping) process.stderr.write(`the simulated device ended (${code})\n`);
  });
  cleanUps.push(() => device.kill());
}

async function main() {
  const { wrangler } = settings;
  const credentials = settings.ephemeral ? generate() : loadOrCreate(join(home, "credentials.json"));
  // Cloudflare alone says in production which client certificate was verified; here it is a header that anybody can send
  const localTlsSecret = randomBytes(32).toString("hex");
  const tls = settings.tls ? loadOrCreateCertificate(join(home, "tls")) : null;
  const platform = new Platform({
    root: settings.root,
    wrangler,
    port: settings.port,
    stateDir: join(home, "state"),
    bindings: {
      ...(settings.control ? { TEST_HOOKS: "1" } : {}),
      ...settings.vars,
      ROOT_ACCESS_KEY_ID: credentials.accessKeyId,
      ROOT_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      MASTER_SECRET: credentials.masterSecret,
      LOCAL_TLS_SECRET: localTlsSecret,
    },
    tls,
    logFile: settings.logFile,
    showLogs: settings.showLogs,
    // tests fire the trigger themselves: what they assert may not depend on the minute in which they run
    tick: !settings.control,
  });
  cleanUps.push(() => platform.stop());
  await platform.start();

  const origin = `${tls ? "https" : "http"}://127.0.0.1:${platform.url.port}`;
  const contract = {
    endpoint: origin,
    mqtt: `${origin.replace(/^http/, "ws")}/mqtt`,
    accessKeyId: credentials.accessKeyId,
    secretAccessKey: credentials.secretAccessKey,
    region: wrangler.vars.REGION,
    accountId: wrangler.vars.ACCOUNT_ID,
    ca: tls ? tls.caPath : null,
  };
  if (settings.control) {
    const control = await startControl(platform, wrangler.triggers?.crons ?? []);
    cleanUps.push(control.close);
    contract.control = { url: control.url, token: control.token, log: settings.logFile };
    contract.localTlsSecret = localTlsSecret;
  }
  process.stdout.write(`${JSON.stringify(contract)}\n`);
  if (settings.device) startDevice(contract);
}

main().catch((error) => {
  process.stderr.write(`${error instanceof Refusal ? error.message : (error.stack ?? error)}\n`);
  stop(1);
});

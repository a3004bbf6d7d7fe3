// A platform of a test's own, for what needs other settings than the shared one has.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { socketMode } from "./platform.mjs";

/** Starts `cargo xtask dev` with these variables, and sockets like the shared one's, and answers its contract; it ends with the test. */
export async function startPlatform(t, vars) {
  const options = Object.entries({ SOCKET_MODE: socketMode, ...vars }).flatMap(([name, value]) => ["--var", `${name}=${value}`]);
  const contract = ["--json", "--ephemeral", "--port", "0", "--no-device", "--control"];
  // Whatever is around it, cargo builds where it always does.
  const dev = spawn("cargo", ["xtask", "dev", ...contract, ...options], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => dev.once("exit", resolve));
  t.after(async () => {
    dev.kill("SIGTERM");
    await ended;
  });
  const lines = createInterface({ input: dev.stdout });
  const line = await Promise.race([
    new Promise((resolve) => lines.once("line", resolve)),
    ended.then((code) => Promise.reject(new Error(`cargo xtask dev ended (${code})`))),
  ]);
  return JSON.parse(line);
}

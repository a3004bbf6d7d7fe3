// Runs the floors (worker.mjs) in workerd through miniflare, on a port of its choice on 127.0.0.1.
//
// stdout: one line of JSON when it is ready. It ends when stdin is closed, or at SIGTERM or SIGINT.

import { join } from "node:path";
import { Miniflare } from "miniflare";
import { COMMON, endWith } from "../floors/runtime.mjs";

const miniflare = new Miniflare({
  ...COMMON,
  name: "relay",
  port: 0,
  modulesRoot: import.meta.dirname,
  scriptPath: join(import.meta.dirname, "worker.mjs"),
  modulesRules: [{ type: "ESModule", include: ["**/*.mjs"] }],
  durableObjects: Object.fromEntries(
    ["One", "Two", "Four", "Connect", "Retained"].map((className) => [
      className.toUpperCase(),
      { className, useSQLite: true },
    ]),
  ),
});

endWith(() => miniflare.dispose());

const { host } = await miniflare.ready;
process.stdout.write(`${JSON.stringify({ floors: `ws://${host}` })}\n`);

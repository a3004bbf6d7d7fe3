// Runs one of the floors in this directory in workerd through miniflare, on a port of its choice on 127.0.0.1.
//
//   node host.mjs durable|start
//
// stdout: one line of JSON when it is ready, with the floor's URL and that of a control port, whose `POST /restart` ends
// workerd and starts it again, at the same address and with the same storage. It ends when stdin is closed, or at SIGTERM
// or SIGINT.

import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Miniflare } from "miniflare";
import { COMMON, endWith } from "./runtime.mjs";

const FLOORS = { durable: "Shelf", start: "Greeter" };

const [floor] = process.argv.slice(2);
const className = FLOORS[floor];
if (!className) {
  process.stderr.write(`usage: node host.mjs ${Object.keys(FLOORS).join("|")}\n`);
  process.exit(2);
}

// rows go to files, as the platform's do
const storage = mkdtempSync(join(tmpdir(), "umbra-floor-"));
let miniflare;
let port = 0;

async function start() {
  miniflare = new Miniflare({
    ...COMMON,
    name: floor,
    port,
    scriptPath: join(import.meta.dirname, `${floor}.mjs`),
    durableObjects: { FLOOR: { className, useSQLite: true } },
    durableObjectsPersist: storage,
    d1Databases: { DB: "floor" },
  });
  const url = await miniflare.ready;
  port = Number(url.port);
  // the platform's host asks its database for migrations at this point, which the first request after it profits from
  await (await miniflare.getD1Database("DB")).prepare("SELECT 1").first();
}

const token = randomBytes(24).toString("base64url");
const control = createServer(async (request, response) => {
  const isAllowed = request.method === "POST" && request.url === "/restart" && request.headers.authorization === `Bearer ${token}`;
  if (!isAllowed) return response.writeHead(404).end();
  await miniflare.dispose();
  await start();
  response.writeHead(200, { "content-type": "application/json" }).end("{}");
});

process.on("exit", () => rmSync(storage, { recursive: true, force: true }));
endWith(() => miniflare.dispose());

await start();
await new Promise((resolve) => control.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${control.address().port}`;
process.stdout.write(`${JSON.stringify({ floor: `ws://127.0.0.1:${port}`, control: { url, token } })}\n`);

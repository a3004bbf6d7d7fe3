// The peer aedes with its defaults, over WebSocket, on a port of its choice on 127.0.0.1.
//
// stdout: one line of JSON when it is ready. It ends when stdin is closed, or at SIGTERM or SIGINT.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { Aedes } from "aedes";
import { WebSocketServer, createWebSocketStream } from "ws";

const broker = await Aedes.createBroker({ maxClientsIdLength: 64 });
broker.on("clientError", () => {});
const server = createServer();
new WebSocketServer({ server }).on("connection", (ws, request) => {
  const stream = createWebSocketStream(ws);
  stream.on("error", () => {});
  broker.handle(stream, request);
});

process.stdin.on("end", () => process.exit(0)).resume();
process.on("SIGTERM", () => process.exit(0));
process.on("SIGINT", () => process.exit(0));

server.listen(0, "127.0.0.1", () => {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, "node_modules/aedes/package.json"), "utf8"));
  const ready = { mqtt: `ws://127.0.0.1:${server.address().port}/mqtt`, version: `aedes ${version} on Node ${process.version}` };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
});

// The floor of a start: a Durable Object that answers CONNECT with CONNACK. bench/README.md says exactly what it does;
// keep the two together.

import { DurableObject } from "cloudflare:workers";
import { CONNACK_BYTES, CONNECT, kindOf } from "./mqtt.mjs";

/** `/{plain|row}/{object}`. */
export default {
  fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (request.headers.get("upgrade") !== "websocket") return new Response(null, { status: 404 });
    return env.FLOOR.get(env.FLOOR.idFromName(pathname)).fetch(request);
  },
};

export class Greeter extends DurableObject {
  fetch(request) {
    const { pathname } = new URL(request.url);
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    // as a Broker does when it begins
    if (pathname.startsWith("/row/")) {
      this.ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS epoch (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL)");
      this.ctx.storage.sql.exec(`INSERT INTO epoch (id, epoch) VALUES (0, 1) ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1`);
    }
    return new Response(null, { status: 101, webSocket: client, headers: { "sec-websocket-protocol": "mqtt" } });
  }

  webSocketMessage(ws, data) {
    if (kindOf(new Uint8Array(data)) === CONNECT) ws.send(CONNACK_BYTES);
  }

  webSocketClose(ws) {
    ws.close();
  }
}

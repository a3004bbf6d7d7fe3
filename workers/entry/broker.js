// The Broker's sockets. Each frame goes straight into a synchronous export; what follows from it is sent by Rust.

import { guarded, internalError, wasm } from "./module.js";
import { UmbraObject } from "./object.js";
import { answerTestHook } from "./test_hooks.js";

/** Why, after how many seconds the client may come again, and for how many milliseconds the Gateway needn't ask. */
function refused(words) {
  const [, retryAfter] = words.split(" ");
  return new Response(null, { status: 503, headers: { "x-umbra-refused": words, "retry-after": retryAfter } });
}

export class Broker extends UmbraObject {
  /** Plain sockets, which end with the memory that knows them; of hibernatable ones the platform keeps the list. */
  #accepted = new Set();

  build(host) {
    // The Rust half that knew them is gone, and they have no attachment to be restored from: their clients come again.
    for (const ws of this.#accepted) {
      ws.umbraConnection = undefined;
      try {
        ws.close(1012, "please connect again");
      } catch {
        // It broke off, or was closed before.
      }
    }
    this.#accepted.clear();
    return new wasm.BrokerObject(this.ctx, this.env, host);
  }

  /** The upgrade, forwarded by the Gateway with its sealed grant. */
  fetch(request) {
    try {
      const tested = this.env.TEST_HOOKS && request.url.includes("/__test/") && answerTestHook(this, request);
      if (tested) return tested;
      const grant = request.headers.get("x-umbra-internal-grant") ?? "";
      const id = guarded(() => this.rust.admit(grant, Date.now()));
      if (typeof id === "string") return refused(id);
      const { 0: client, 1: server } = new WebSocketPair();
      if (this.env.SOCKET_MODE === "accepted") this.#listen(server);
      else this.ctx.acceptWebSocket(server);
      server.umbraConnection = id;
      guarded(() => this.rust.opened(id, server, Date.now()));
      const headers = { "sec-websocket-protocol": request.headers.get("sec-websocket-protocol") };
      return new Response(null, { status: 101, webSocket: client, headers });
    } catch (error) {
      return internalError(error);
    }
  }

  /** From the Worker: publish for somebody who is no client, and answer when it is safe. */
  publish(bytes) {
    return guarded(() => this.rust.publish(bytes, Date.now()));
  }

  webSocketMessage(ws, data) {
    const id = this.#connection(ws);
    if (id === undefined) return;
    try {
      if (typeof data === "string") guarded(() => this.rust.receive_text(id, Date.now()));
      else guarded(() => this.rust.receive(id, new Uint8Array(data), Date.now()));
    } catch (error) {
      // One frame failed: its connection ends, everybody else's goes on.
      console.error(JSON.stringify({ level: "error", event: "frame_failed", reason: String(error) }));
      ws.close(1011, "internal error");
      guarded(() => this.rust.lost(id, Date.now()));
    }
  }

  webSocketClose(ws) {
    const id = this.#connection(ws);
    if (id !== undefined) guarded(() => this.rust.lost(id, Date.now()));
    try {
      // The runtime does not answer a client's Close frame for us, and the client waits for the answer (RFC 6455 5.5.1).
      ws.close(1000);
    } catch {
      // It broke off, or we closed it first.
    }
  }

  webSocketError(ws) {
    this.webSocketClose(ws);
  }

  /** The connection's number, kept on the socket. After a sleep, Rust reads it from the attachments. */
  #connection(ws) {
    const { rust } = this;
    if (ws.umbraConnection === undefined) guarded(() => rust.wake(Date.now()));
    return ws.umbraConnection;
  }

  #listen(server) {
    // Without it, messages are Blobs, whose bytes come later.
    server.binaryType = "arraybuffer";
    server.accept();
    this.#accepted.add(server);
    server.addEventListener("message", ({ data }) => this.webSocketMessage(server, data));
    const ended = () => {
      this.#accepted.delete(server);
      this.webSocketClose(server);
    };
    server.addEventListener("close", ended);
    server.addEventListener("error", ended);
  }
}

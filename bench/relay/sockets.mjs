// What all floors share: the two kinds of sockets, and two ways of sending.
// bench/README.md says exactly what they do; keep the two together.

import { DurableObject } from "cloudflare:workers";

/** An object with sockets, each with a seat: what its URL says of it (`seatOf` in worker.mjs). */
export class Floor extends DurableObject {
  /** Sockets with something to send at the end of this turn. */
  #pending = [];
  /** Topics that have something to send at the end of this turn to all of their subscribers. */
  #crowds = [];
  #isTurning = false;

  constructor(ctx, env) {
    super(ctx, env);
    // after a sleep
    for (const ws of ctx.getWebSockets()) this.#seat(ws, ws.deserializeAttachment());
  }

  /** Takes a client in. */
  seat(seat, headers = {}) {
    const { 0: client, 1: server } = new WebSocketPair();
    if (seat.mode === "accepted") {
      // otherwise messages are Blobs
      server.binaryType = "arraybuffer";
      server.accept();
      server.addEventListener("message", ({ data }) => this.webSocketMessage(server, data));
      server.addEventListener("close", () => this.webSocketClose(server));
    } else {
      this.ctx.acceptWebSocket(server);
      server.serializeAttachment(seat);
    }
    this.#seat(server, seat);
    return new Response(null, { status: 101, webSocket: client, headers });
  }

  #seat(ws, seat) {
    ws.pending = [];
    ws.isCoalesced = seat.way === "coalesced";
    this.seated(ws, seat);
  }

  /** For those who keep more of a socket. */
  seated() {}
  left() {}

  webSocketMessage(ws, data) {
    this.received(ws, new Uint8Array(data));
  }

  webSocketClose(ws) {
    ws.close();
    ws.pending = undefined;
    this.left(ws);
  }

  /** Sends in the socket's way. */
  send(ws, bytes) {
    if (ws.isCoalesced) this.#later(ws, bytes);
    else ws.send(bytes);
  }

  /** Sends to all subscribers of a topic, a list of sockets of one way. */
  sendAll(subscribers, bytes) {
    if (subscribers.length > 1 && subscribers[0].isCoalesced) this.#laterToAll(subscribers, bytes);
    else for (const subscriber of subscribers) this.send(subscriber, bytes);
  }

  #later(ws, bytes) {
    const { pending } = ws;
    if (pending === undefined) return;
    this.#turn();
    if (pending.length === 0) this.#pending.push(ws);
    pending.push(bytes);
  }

  #laterToAll(subscribers, bytes) {
    this.#turn();
    const pending = (subscribers.pending ??= []);
    if (pending.length === 0) this.#crowds.push(subscribers);
    pending.push(bytes);
  }

  #turn() {
    if (this.#isTurning) return;
    this.#isTurning = true;
    setTimeout(() => this.#flush(), 0);
  }

  #flush() {
    this.#isTurning = false;
    const crowds = this.#crowds;
    this.#crowds = [];
    for (const subscribers of crowds) {
      // one buffer for all of them
      const bytes = joined(subscribers.pending);
      subscribers.pending = [];
      for (const ws of subscribers) {
        if (ws.pending.length === 0) ws.send(bytes);
        else ws.pending.push(bytes);
      }
    }
    const sockets = this.#pending;
    this.#pending = [];
    for (const ws of sockets) {
      if (ws.pending === undefined) continue;
      const bytes = joined(ws.pending);
      ws.pending = [];
      ws.send(bytes);
    }
  }
}

export function joined(parts) {
  if (parts.length === 1) return parts[0];
  let length = 0;
  for (const part of parts) length += part.byteLength;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

// The floor: one Durable Object that passes WebSocket messages on, and knows of MQTT only what that takes.
// bench/README.md says exactly what it does; keep the two together.

import { DurableObject } from "cloudflare:workers";

const PUBLISH = 3;
const PUBACK = 4;

/** `/{each|coalesced}/{topic}/{publisher|subscriber}`. All sockets of a way of sending share one object. */
export default {
  fetch(request, env) {
    const [, way] = new URL(request.url).pathname.split("/");
    return env.RELAY.get(env.RELAY.idFromName(way)).fetch(request);
  },
};

export class Relay extends DurableObject {
  /** topic → the sockets of its subscribers */
  #topics = new Map();
  /** With "coalesced": socket → what to send it at the end of this turn. */
  #pending = new Map();

  constructor(ctx, env) {
    super(ctx, env);
    // after a sleep
    for (const ws of ctx.getWebSockets()) this.#seat(ws, ws.deserializeAttachment());
  }

  fetch(request) {
    const [, way, topic, role] = new URL(request.url).pathname.split("/");
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    const seat = { way, topic, role };
    server.serializeAttachment(seat);
    this.#seat(server, seat);
    return new Response(null, { status: 101, webSocket: client });
  }

  webSocketMessage(ws, data) {
    const bytes = new Uint8Array(data);
    if (bytes[0] >> 4 !== PUBLISH) return;
    const send = ws.coalesced ? this.#later : this.#now;
    if (bytes[0] & 0b0110) send.call(this, ws, acknowledgement(bytes));
    for (const subscriber of ws.subscribers) send.call(this, subscriber, data);
  }

  webSocketClose(ws) {
    ws.close();
    const left = ws.subscribers.indexOf(ws);
    if (left >= 0) ws.subscribers.splice(left, 1);
    this.#pending.delete(ws);
    if (ws.subscribers.length === 0) this.#topics.delete(ws.topic);
  }

  #seat(ws, { way, topic, role }) {
    let subscribers = this.#topics.get(topic);
    if (!subscribers) this.#topics.set(topic, (subscribers = []));
    if (role === "subscriber") subscribers.push(ws);
    ws.topic = topic;
    ws.subscribers = subscribers;
    ws.coalesced = way === "coalesced";
  }

  #now(ws, data) {
    ws.send(data);
  }

  #later(ws, data) {
    if (this.#pending.size === 0) setTimeout(() => this.#flush(), 0);
    const waiting = this.#pending.get(ws);
    if (waiting) waiting.push(data);
    else this.#pending.set(ws, [data]);
  }

  #flush() {
    const pending = this.#pending;
    this.#pending = new Map();
    for (const [ws, parts] of pending) ws.send(parts.length === 1 ? parts[0] : joined(parts));
  }
}

function joined(parts) {
  let length = 0;
  for (const part of parts) length += part.byteLength;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part instanceof Uint8Array ? part : new Uint8Array(part), at);
    at += part.byteLength;
  }
  return whole;
}

/** The PUBACK for a PUBLISH with QoS 1: the packet identifier is behind the remaining length and the topic. */
function acknowledgement(publish) {
  let at = 1;
  while (publish[at] & 0x80) at += 1;
  at += 1;
  at += 2 + ((publish[at] << 8) | publish[at + 1]);
  return new Uint8Array([PUBACK << 4, 2, publish[at], publish[at + 1]]);
}

// The floor of stored messages: one Durable Object that keeps what is published for clients who are away, and hands it to
// them when they come. bench/README.md says exactly what it does; keep the two together.

import { DurableObject } from "cloudflare:workers";
import {
  CONNACK_BYTES,
  CONNACK_PRESENT_BYTES,
  CONNECT,
  PINGREQ,
  PINGRESP_BYTES,
  PUBACK,
  PUBLISH,
  clientIdOf,
  kindOf,
  packetIdAt,
  packetIdOf,
  topicOf,
} from "./mqtt.mjs";

/** Messages that a client may have unacknowledged: as many as the platform sends. */
const WINDOW = 100;
/** Rows in one INSERT: the platform takes a hundred parameters, and four of the columns differ from row to row. */
const ROWS_AT_ONCE = 25;
/** Bytes that the platform's row has beyond the packet's: who published it, when it came, and what it is encoded with. */
const MORE_BYTES = 24;

const COLUMNS = "client_id, sequence, packet_id, phase, message_id, weight, expires_at, bytes";
const insertOf = (rows) => `INSERT INTO messages (${COLUMNS}) VALUES ${Array(rows).fill("(?,?,NULL,0,NULL,?,NULL,?)").join(",")}`;
const INSERT_FULL = insertOf(ROWS_AT_ONCE);

export default {
  fetch(request, env) {
    return env.FLOOR.get(env.FLOOR.idFromName("shelf")).fetch(request);
  },
};

export class Shelf extends DurableObject {
  #sql;
  /** Rows to be inserted at the end of this turn. */
  #rows = [];
  /** Sockets with something to send, or something to delete or to read, at the end of this turn. */
  #busy = new Set();
  #isTurning = false;
  /** client → its last sequence number */
  #sequences = new Map();

  constructor(ctx, env) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    // the platform's table (durable-objects/src/sessions_store.rs)
    this.#sql.exec(`CREATE TABLE IF NOT EXISTS messages (
      client_id TEXT NOT NULL, sequence INTEGER NOT NULL, packet_id INTEGER, phase INTEGER NOT NULL, message_id BLOB,
      weight INTEGER NOT NULL, expires_at INTEGER, bytes BLOB NOT NULL,
      PRIMARY KEY (client_id, sequence)) WITHOUT ROWID`);
    // after a sleep
    const last = "SELECT client_id, MAX(sequence) FROM messages GROUP BY client_id";
    for (const [client, sequence] of this.#sql.exec(last).raw()) this.#sequences.set(client, sequence);
    for (const ws of ctx.getWebSockets()) ws.pending = [];
  }

  fetch() {
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    server.pending = [];
    return new Response(null, { status: 101, webSocket: client, headers: { "sec-websocket-protocol": "mqtt" } });
  }

  webSocketMessage(ws, data) {
    const packet = new Uint8Array(data);
    switch (kindOf(packet)) {
      case PUBLISH:
        return this.#store(ws, packet);
      case PUBACK:
        return this.#acknowledged(ws, packet);
      case CONNECT:
        return this.#connect(ws, packet);
      case PINGREQ:
        return this.#send(ws, PINGRESP_BYTES);
    }
  }

  webSocketClose(ws) {
    ws.close();
    ws.pending = [];
    ws.reader = undefined;
  }

  /** A topic belongs to the client of the same name. */
  #store(ws, packet) {
    const client = topicOf(packet);
    const sequence = (this.#sequences.get(client) ?? 0) + 1;
    this.#sequences.set(client, sequence);
    const bytes = new Uint8Array(MORE_BYTES + packet.length);
    bytes.set(packet, MORE_BYTES);
    this.#rows.push(client, sequence, packet.length, bytes);
    const at = packetIdAt(packet);
    this.#send(ws, new Uint8Array([PUBACK << 4, 2, packet[at], packet[at + 1]]));
  }

  #connect(ws, packet) {
    const client = clientIdOf(packet);
    const isKnown = this.#sequences.has(client);
    this.#send(ws, isKnown ? CONNACK_PRESENT_BYTES : CONNACK_BYTES);
    // sent: the sequence numbers of what is unacknowledged, by packet identifier
    if (isKnown) ws.reader = { client, after: 0, sent: new Map(), done: new Set(), deleted: 0, isLast: false };
  }

  #acknowledged(ws, packet) {
    const { reader } = ws;
    const id = packetIdOf(packet);
    if (!reader?.sent.has(id)) return;
    reader.done.add(reader.sent.get(id));
    reader.sent.delete(id);
    this.#later(ws);
  }

  #send(ws, bytes) {
    ws.pending.push(bytes);
    this.#later(ws);
  }

  #later(ws) {
    this.#busy.add(ws);
    if (this.#isTurning) return;
    this.#isTurning = true;
    setTimeout(() => this.#turn(), 0);
  }

  /** What came since the last turn: one transaction, and one message to each socket, which leaves when it is durable. */
  #turn() {
    this.#isTurning = false;
    const rows = this.#rows;
    this.#rows = [];
    for (let at = 0; at < rows.length; at += ROWS_AT_ONCE * 4) {
      const values = rows.slice(at, at + ROWS_AT_ONCE * 4);
      this.#sql.exec(values.length === ROWS_AT_ONCE * 4 ? INSERT_FULL : insertOf(values.length / 4), ...values);
    }
    const busy = this.#busy;
    this.#busy = new Set();
    for (const ws of busy) {
      if (ws.reader) this.#read(ws, ws.reader);
      if (ws.pending.length === 0) continue;
      const bytes = joined(ws.pending);
      ws.pending = [];
      ws.send(bytes);
    }
  }

  #read(ws, reader) {
    const { client, done, sent } = reader;
    let upTo = reader.deleted;
    while (done.delete(upTo + 1)) upTo += 1;
    if (upTo > reader.deleted) {
      this.#sql.exec("DELETE FROM messages WHERE client_id = ? AND sequence <= ?", client, upTo);
      reader.deleted = upTo;
    }
    const room = WINDOW - sent.size;
    if (reader.isLast || room === 0) return;
    const statement = "SELECT sequence, bytes FROM messages WHERE client_id = ? AND sequence > ? ORDER BY sequence LIMIT ?";
    let rows = 0;
    for (const [sequence, stored] of this.#sql.exec(statement, client, reader.after, room).raw()) {
      const packet = new Uint8Array(stored, MORE_BYTES);
      const id = ((sequence - 1) % 65_535) + 1;
      const at = packetIdAt(packet);
      packet[at] = id >> 8;
      packet[at + 1] = id & 0xff;
      sent.set(id, sequence);
      ws.pending.push(packet);
      if (reader.after === 0) reader.deleted = sequence - 1;
      reader.after = sequence;
      rows += 1;
    }
    reader.isLast = rows < room;
  }
}

function joined(parts) {
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

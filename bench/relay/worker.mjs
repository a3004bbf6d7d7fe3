// The floors: what a scenario costs in Durable Objects when nothing of a broker is done, in plain JavaScript.
// bench/README.md says exactly what each of them does; keep the two together.

import { Floor, joined } from "./sockets.mjs";
import {
  CONNACK,
  CONNECT,
  PUBLISH,
  PUBREC,
  PUBREL,
  SUBSCRIBE,
  UNSUBSCRIBE,
  acknowledgement,
  completion,
  release,
  subscribed,
  unsubscribed,
} from "./packets.mjs";

const BINDINGS = { one: "ONE", two: "TWO", four: "FOUR", connect: "CONNECT", retained: "RETAINED" };

/** `/{floor}/{hibernatable|accepted}/{each|coalesced}/{object}/{topic}/{publisher|subscriber}` */
function seatOf(request) {
  const [, floor, mode, way, object, topic, role] = new URL(request.url).pathname.split("/");
  return { floor, mode, way, object, topic, role };
}

export default {
  fetch(request, env) {
    const { floor, object, topic } = seatOf(request);
    const namespace = env[BINDINGS[floor]];
    // retained messages of one run are not another's
    return namespace.get(namespace.idFromName(floor === "retained" ? topic : object)).fetch(request);
  },
};

/** Sockets by topic. */
class Topics extends Floor {
  fetch(request) {
    return this.seat(seatOf(request));
  }

  subscribers(topic) {
    // topic → the sockets of its subscribers here; no field of the class, as after a sleep the base class needs it first
    this.topics ??= new Map();
    let subscribers = this.topics.get(topic);
    if (!subscribers) this.topics.set(topic, (subscribers = []));
    return subscribers;
  }

  seated(ws, seat) {
    const subscribers = this.subscribers(seat.topic);
    if (seat.role === "subscriber") subscribers.push(ws);
    ws.topic = seat.topic;
    ws.subscribers = subscribers;
  }

  left(ws) {
    const at = ws.subscribers.indexOf(ws);
    if (at >= 0) ws.subscribers.splice(at, 1);
    if (ws.subscribers.length === 0) this.topics.delete(ws.topic);
  }

  received(ws, bytes) {
    switch (bytes[0] >> 4) {
      case PUBLISH: {
        const answer = acknowledgement(bytes);
        if (answer) this.send(ws, answer);
        this.pass(ws, bytes);
        break;
      }
      case PUBREC:
        this.send(ws, release(bytes));
        break;
      case PUBREL:
        this.send(ws, completion(bytes));
        break;
    }
  }
}

/** Publishers and subscribers in one object. */
export class One extends Topics {
  pass(ws, bytes) {
    this.sendAll(ws.subscribers, bytes);
  }
}

/** A publisher's message goes to other objects: what a turn yields, joined for each topic, in one call. */
class Packing extends Topics {
  /** topic → what was published to it in this turn */
  #packed = new Map();

  pass(ws, bytes) {
    const parts = this.#packed.get(ws.topic);
    if (parts) return void parts.push(bytes);
    if (this.#packed.size === 0) setTimeout(() => this.#call(), 0);
    this.#packed.set(ws.topic, [bytes]);
  }

  /** Calls arrive in the order in which they are made; nobody waits for their answers. */
  #call() {
    const packed = this.#packed;
    this.#packed = new Map();
    this.hand([...packed.keys()], [...packed.values()].map(joined));
  }

  /** From another object: the bytes for each of the topics' subscribers, who get them in one message. */
  deliver(topics, messages) {
    for (let at = 0; at < topics.length; at += 1) {
      for (const ws of this.subscribers(topics[at])) ws.send(messages[at]);
    }
  }
}

/** The publishers in the object "0", the subscribers in the object "1". */
export class Two extends Packing {
  #other;

  hand(topics, messages) {
    this.#other ??= this.env.TWO.get(this.env.TWO.idFromName("1"));
    this.#other.deliver(topics, messages);
  }
}

/** Four objects with sockets, "0" to "3", and the object "router" between them. */
export class Four extends Packing {
  #router;
  #gateways;

  hand(topics, messages) {
    this.#router ??= this.env.FOUR.get(this.env.FOUR.idFromName("router"));
    this.#router.route(topics, messages);
  }

  route(topics, messages) {
    this.#gateways ??= ["0", "1", "2", "3"].map((name) => this.env.FOUR.get(this.env.FOUR.idFromName(name)));
    for (const gateway of this.#gateways) gateway.deliver(topics, messages);
  }
}

/** Answers a CONNECT. */
export class Connect extends Floor {
  fetch(request) {
    return this.seat(seatOf(request), { "sec-websocket-protocol": "mqtt" });
  }

  received(ws, bytes) {
    if (bytes[0] >> 4 === CONNECT) ws.send(CONNACK);
  }
}

/** Has what was published in memory, and sends it to whoever subscribes. */
export class Retained extends Floor {
  #frames = [];

  fetch(request) {
    return this.seat(seatOf(request));
  }

  received(ws, bytes) {
    switch (bytes[0] >> 4) {
      case PUBLISH:
        this.#frames.push(bytes);
        this.send(ws, acknowledgement(bytes));
        break;
      case SUBSCRIBE:
        this.send(ws, subscribed(bytes));
        for (const frame of this.#frames) this.send(ws, frame);
        break;
      case UNSUBSCRIBE:
        this.send(ws, unsubscribed(bytes));
        break;
    }
  }
}

// Many connections at once: small, so that a thousand of them and the platform have room on one machine.

import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";
import { PATIENCE_MILLIS, contract, unique, within } from "./platform.mjs";
import { connectPacket } from "./raw.mjs";

// the codec that MQTT.js uses
const codec = createRequire(import.meta.resolve("mqtt"))("mqtt-packet");

/** A Broker lets 200 in at once and then 100 a second (docs/settings.md); the tests' platform has three. */
const ARRIVALS_PER_SECOND = 250;

/** A connection that takes what comes, acknowledges it at once, and knows how often each message came. */
export class Member {
  /** Topic, a space and the payload → how often. */
  heard = new Map();
  #answers = [];

  constructor(socket, protocolVersion) {
    this.socket = socket;
    this.protocolVersion = protocolVersion;
    this.isClosed = false;
    socket.once("close", () => {
      this.isClosed = true;
    });
    socket.on("error", () => {});
    const parser = codec.parser({ protocolVersion });
    parser.on("packet", (packet) => this.#take(packet));
    socket.on("message", (data) => parser.parse(data));
  }

  #take(packet) {
    if (packet.cmd !== "publish") return this.#answers.shift()?.(packet);
    const what = `${packet.topic} ${packet.payload}`;
    this.heard.set(what, (this.heard.get(what) ?? 0) + 1);
    if (packet.qos === 1) this.send({ cmd: "puback", messageId: packet.messageId });
  }

  send(packet) {
    this.socket.send(codec.generate(packet, { protocolVersion: this.protocolVersion }));
  }

  /** The next packet that is no message. */
  ask(packet) {
    const answer = new Promise((resolve) => this.#answers.push(resolve));
    this.send(packet);
    return within(answer, `an answer to ${packet.cmd}`);
  }

  async subscribe(subscriptions) {
    const { granted, reasonCodes } = await this.ask({ cmd: "subscribe", messageId: 1, subscriptions });
    return granted ?? reasonCodes;
  }
}

/** An open WebSocket, or the seconds to wait before the next try. */
async function dial() {
  const socket = new WebSocket(contract.mqtt, ["mqtt"]);
  const outcome = new Promise((resolve, reject) => {
    socket.once("open", () => resolve({ socket }));
    socket.once("unexpected-response", (_, response) => {
      response.resume();
      const { statusCode, headers } = response;
      if (statusCode === 503) resolve({ retryAfterSeconds: Number(headers["retry-after"]) });
      else reject(new Error(`the upgrade was answered by ${statusCode}`));
    });
    socket.once("error", reject);
  });
  return within(outcome, "the WebSocket upgrade");
}

async function join(protocolVersion, gone) {
  const deadline = Date.now() + 3 * PATIENCE_MILLIS;
  for (;;) {
    const { socket, retryAfterSeconds } = await dial();
    if (socket) {
      const member = new Member(socket, protocolVersion);
      gone.push(member);
      const connack = await member.ask(connectPacket({ protocolVersion, clientId: unique("member") }));
      const code = connack.returnCode ?? connack.reasonCode;
      if (code !== 0) throw new Error(`CONNECT was answered by ${code}`);
      return member;
    }
    if (!(retryAfterSeconds >= 1)) throw new Error(`Retry-After: ${retryAfterSeconds}`);
    if (Date.now() > deadline) throw new Error("nobody takes it");
    await sleep(retryAfterSeconds * 1_000);
  }
}

/** This many connected clients, as many of each version; they come as fast as the Brokers take them, and politely. */
export async function gather(count) {
  const members = [];
  const joining = [];
  const begun = Date.now();
  while (joining.length < count) {
    const due = Math.min(count, 1 + Math.floor(((Date.now() - begun) * ARRIVALS_PER_SECOND) / 1_000));
    while (joining.length < due) joining.push(join(joining.length % 2 ? 5 : 4, members));
    await sleep(10);
  }
  try {
    return await Promise.all(joining);
  } catch (error) {
    disperse(members);
    throw error;
  }
}

/** Closes them all, without a word. */
export function disperse(members) {
  for (const { socket } of members) socket.terminate();
}

// MQTT clients for tests: MQTT.js with an inbox that can be waited for.

import mqtt from "mqtt";
import { contract, decode, unique, within } from "./platform.mjs";

/** A body that holds for both versions is run with each. */
export const VERSIONS = [
  { version: "3.1.1", protocolVersion: 4 },
  { version: "5.0", protocolVersion: 5 },
];

/** Enough connections that with three Brokers, chosen at random for each, one is without any in one of 5 000 runs. */
export const ON_ALL_BROKERS = 24;

export class Client {
  /** Messages that have come and were not taken, oldest first: `{ topic, payload, packet }`. */
  inbox = [];
  /** Settles when the connection is gone, whoever ended it. */
  closed;
  #watchers = new Set();

  constructor(options) {
    this.mqtt = mqtt.connect(contract.mqtt, {
      clientId: unique("client"),
      username: contract.accessKeyId,
      password: contract.secretAccessKey,
      protocolVersion: 5,
      reconnectPeriod: 0,
      connectTimeout: 20_000,
      ...options,
    });
    this.closed = new Promise((resolve) => this.mqtt.once("close", resolve));
    this.mqtt.on("message", (topic, payload, packet) => {
      this.inbox.push({ topic, payload, packet });
      for (const watcher of this.#watchers) watcher();
    });
    // without a listener, an error after the test had what it wanted would end the process
    this.mqtt.on("error", () => {});
  }

  get id() {
    return this.mqtt.options.clientId;
  }

  /** The CONNACK, or the error that refused the connection. */
  connected() {
    const connack = new Promise((resolve, reject) => {
      this.mqtt.once("connect", resolve);
      this.mqtt.once("error", reject);
      this.mqtt.once("close", () => reject(new Error(`${this.id}: closed before CONNACK`)));
    });
    return within(connack, `${this.id}: CONNACK`);
  }

  /** Waits until `condition` holds, looking again with each message. */
  async until(condition, what) {
    if (condition()) return;
    let watcher;
    const met = new Promise((resolve) => {
      watcher = () => condition() && resolve();
      this.#watchers.add(watcher);
    });
    try {
      await within(met, `${this.id}: ${what}`);
    } catch (error) {
      error.message += `; in the inbox: ${this.inbox.slice(-10).map(({ topic }) => topic).join(", ") || "nothing"}`;
      throw error;
    } finally {
      this.#watchers.delete(watcher);
    }
  }

  /** Takes the oldest message on `topic` out of the inbox, once it is there. */
  async next(topic) {
    const find = () => this.inbox.findIndex((message) => message.topic === topic);
    await this.until(() => find() >= 0, `a message on ${topic}`);
    return this.inbox.splice(find(), 1)[0];
  }

  /** The same, read as JSON. */
  async nextJson(topic) {
    return decode((await this.next(topic)).payload);
  }

  /** What came on `topic`, as texts. */
  texts(topic) {
    return this.inbox.filter((message) => message.topic === topic).map(({ payload }) => payload.toString());
  }

  subscribe(filter, options = { qos: 1 }) {
    return within(this.mqtt.subscribeAsync(filter, options), `${this.id}: SUBACK for ${filter}`);
  }

  unsubscribe(filter) {
    return within(this.mqtt.unsubscribeAsync(filter), `${this.id}: UNSUBACK for ${filter}`);
  }

  /** With QoS 1, done when the PUBACK is here. */
  publish(topic, payload, options = { qos: 1 }) {
    const bytes = typeof payload === "string" || Buffer.isBuffer(payload) ? payload : JSON.stringify(payload);
    return within(this.mqtt.publishAsync(topic, bytes, options), `${this.id}: publish on ${topic}`);
  }

  /** Says DISCONNECT and waits for the end of the connection. */
  async end() {
    await this.mqtt.endAsync();
  }
}

/** A client that ends with its test, and may not be connected yet. */
export function open(t, options) {
  const client = new Client(options);
  t.after(() => client.mqtt.end(true));
  return client;
}

/** A connected client that ends with its test. */
export async function connect(t, options) {
  const client = open(t, options);
  client.connack = await client.connected();
  return client;
}

/** Several, connected. */
export const connectMany = (t, count, options) => connectEach(t, Array.from({ length: count }, () => unique("client")), options);

/** One connected client for each id. */
export async function connectEach(t, clientIds, options) {
  const clients = [];
  // One after the other: this release of workerd never lets an object sleep that took two upgrades at once
  // (workerd issue 6862), and some tests put their Brokers to sleep.
  for (const clientId of clientIds) clients.push(await connect(t, { ...options, clientId }));
  return clients;
}

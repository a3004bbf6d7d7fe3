// A WebSocket on which a test says exactly what it wants, where an MQTT client would behave.

import { createRequire } from "node:module";
import WebSocket from "ws";
import { contract, within } from "./platform.mjs";

// the codec that MQTT.js uses
const codec = createRequire(import.meta.resolve("mqtt"))("mqtt-packet");

/** The CONNECT of a client with the platform's access key. */
export const connectPacket = ({ protocolVersion = 4, protocolId = "MQTT", clientId, ...rest }) => ({
  cmd: "connect",
  protocolId,
  protocolVersion,
  clean: true,
  clientId,
  keepalive: 60,
  username: contract.accessKeyId,
  password: Buffer.from(contract.secretAccessKey),
  ...rest,
});

export class RawClient {
  /** Packets that have come and were not taken, oldest first. */
  inbox = [];
  #watchers = new Set();

  constructor(socket, protocolVersion) {
    this.socket = socket;
    this.protocolVersion = protocolVersion;
    this.closed = new Promise((resolve) => socket.once("close", resolve));
    const parser = codec.parser({ protocolVersion });
    parser.on("packet", (packet) => {
      this.inbox.push(packet);
      for (const watcher of this.#watchers) watcher();
    });
    socket.on("message", (data) => parser.parse(data));
    socket.on("error", () => {});
  }

  encode(packet) {
    return codec.generate(packet, { protocolVersion: this.protocolVersion });
  }

  /** All packets in one WebSocket message. */
  send(...packets) {
    this.socket.send(Buffer.concat(packets.map((packet) => this.encode(packet))));
  }

  /** Waits until `condition` holds, looking again with each packet. */
  async until(condition, what) {
    if (condition()) return;
    let watcher;
    const met = new Promise((resolve) => {
      watcher = () => condition() && resolve();
      this.#watchers.add(watcher);
    });
    await within(met, what).finally(() => this.#watchers.delete(watcher));
  }

  /** Takes the oldest packet of this kind, once it is there. */
  async next(cmd) {
    const find = () => this.inbox.findIndex((packet) => packet.cmd === cmd);
    await this.until(() => find() >= 0, `a ${cmd} packet`);
    return this.inbox.splice(find(), 1)[0];
  }
}

/**
 * Opens a WebSocket to the platform, or says how it was refused:
 * `{ client, subprotocol }` or `{ status, errorType, body }`.
 */
export async function upgrade(t, { url = contract.mqtt, subprotocols = ["mqtt"], headers = {}, protocolVersion = 4 } = {}) {
  const socket = new WebSocket(url, subprotocols, { headers });
  t.after(() => socket.terminate());
  const outcome = new Promise((resolve, reject) => {
    const client = new RawClient(socket, protocolVersion);
    socket.once("open", () => resolve({ client, subprotocol: socket.protocol }));
    socket.once("unexpected-response", (_, response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () =>
        resolve({
          status: response.statusCode,
          errorType: response.headers["x-amzn-errortype"],
          body: Buffer.concat(chunks).toString(),
        }),
      );
    });
    socket.once("error", reject);
  });
  return within(outcome, "the WebSocket upgrade");
}

/** A raw client after its CONNACK. */
export async function connectRaw(t, packet, options = {}) {
  const { client } = await upgrade(t, { protocolVersion: packet.protocolVersion ?? 4, ...options });
  client.send(connectPacket(packet));
  client.connack = await client.next("connack");
  return client;
}

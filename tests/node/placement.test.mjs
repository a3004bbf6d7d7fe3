// Where connections go: full Brokers, a pool that opens more of them, a Broker that sends its clients elsewhere.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import WebSocket from "ws";
import { startPlatform } from "./support/dev.mjs";
import { connect, open } from "./support/mqtt.mjs";
import { contract, unique, within } from "./support/platform.mjs";

/** Options with which a client goes to another platform than the shared one. */
const at = ({ mqtt, accessKeyId: username, secretAccessKey: password }) => ({
  hostname: new URL(mqtt).hostname,
  port: Number(new URL(mqtt).port),
  username,
  password,
});

/** Status and headers of the answer to an upgrade; 101 when it came to a socket, which is closed again. */
async function upgrade({ mqtt }) {
  const socket = new WebSocket(mqtt, "mqtt");
  const answer = new Promise((resolve, reject) => {
    socket.once("open", () => resolve({ status: 101, headers: {} }));
    socket.once("unexpected-response", (_, { statusCode: status, headers }) => resolve({ status, headers }));
    socket.once("error", reject);
  });
  try {
    return await within(answer, "an answer to the upgrade");
  } finally {
    socket.on("error", () => {});
    socket.terminate();
  }
}

/** A connected client, however often it is told to come again. */
async function connectPolitely(t, options) {
  for (let tries = 0; tries < 40; tries += 1) {
    const client = open(t, options);
    try {
      client.connack = await client.connected();
      return client;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }
  throw new Error("nobody takes it");
}

/** Everybody hears everybody. */
async function assertAllHear(clients) {
  const topic = unique("topic");
  for (const client of clients) await client.subscribe(topic);
  for (const [index, client] of clients.entries()) await client.publish(topic, String(index));
  for (const client of clients) {
    await client.until(() => client.texts(topic).length === clients.length, "everybody's message");
  }
}

// Each on a platform of its own, most of the time waiting.
suite("Brokers of a region", { concurrency: true }, () => {
  suite("a region that may not grow", () => {
    test("a full Broker refuses, the next takes the client, and when all are full it is told when to come again", async (t) => {
      const platform = await startPlatform(t, { BROKERS: 3, BROKER_CAPACITY: 1 });
      const clients = [];
      // Whichever Brokers they prefer, each gets the one that is left.
      for (let count = 0; count < 3; count += 1) clients.push(await connect(t, at(platform)));
      await assertAllHear(clients);
      for (let tries = 0; tries < 3; tries += 1) {
        const { status, headers } = await upgrade(platform);
        assert.equal(status, 503);
        assert.equal(headers["x-amzn-errortype"], "ServiceUnavailableException");
        assert.match(headers["retry-after"], /^\d+$/);
        assert.ok(headers["retry-after"] >= 1 && headers["retry-after"] <= 120, headers["retry-after"]);
        assert.equal(headers["x-umbra-refused"], undefined, "that is between Gateway and Broker");
      }
      await clients[0].end();
      // The Gateway holds back for as long as the Brokers said; then there is room.
      await connectPolitely(t, at(platform));
    });
  });

  suite("a region that may grow", () => {
    test("its pool opens Brokers for those who were refused, and more than there are room for come in", async (t) => {
      const platform = await startPlatform(t, { BROKERS: 1, BROKERS_MAXIMUM: 4, BROKER_CAPACITY: 2 });
      const clients = [];
      for (let count = 0; count < 7; count += 1) clients.push(await connectPolitely(t, at(platform)));
      await assertAllHear(clients);
    });
  });

  suite("a Broker that is emptied", () => {
    test("tells its clients to use another server, and wills wait until they are back", async (t) => {
      const topic = unique("wills");
      const platform = await startPlatform(t, { BROKERS: 2 });
      const options = (clientId) => ({ ...at(platform), clientId, will: { topic, payload: clientId, qos: 1 } });
      const back = [];
      /** A client that comes back at once, as any would, when it is told to go. */
      const connectOne = async (clientId) => {
        const client = await connect(t, options(clientId));
        client.mqtt.once("disconnect", ({ reasonCode }) => back.push(come(clientId, reasonCode)));
        return client;
      };
      const come = async (clientId, reasonCode) => {
        const client = await connect(t, options(clientId));
        return { client, reasonCode };
      };
      for (let count = 0; count < 12; count += 1) await connectOne(unique("client"));
      const response = await fetch(`${platform.endpoint}/__test/drain/0`);
      assert.equal(response.status, 200);
      const connections = Number(await response.text());
      assert.ok(connections > 0 && connections < 12, `${connections} of 12 are on this Broker`);
      // It takes no more: this one is on the other.
      const listener = await connect(t, at(platform));
      await listener.subscribe(topic);
      const deadline = Date.now() + 40_000;
      while (back.length < connections && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 200));
      assert.equal(back.length, connections, "within the half minute that it is given");
      for (const { reasonCode } of await Promise.all(back)) assert.equal(reasonCode, 0x9c);
      await listener.publish(topic, "the end");
      await listener.until(() => listener.texts(topic).includes("the end"), "the end");
      assert.deepEqual(listener.texts(topic), ["the end"], "nobody's will");
    });
  });
});

test("the shared platform's Brokers take clients as ever", async (t) => {
  assert.equal((await upgrade(contract)).status, 101);
  await assertAllHear([await connect(t), await connect(t)]);
});

// What the platform sends leaves in few WebSocket messages, each of which costs as much as many packets in one of them,
// and nothing waits for company.

import assert from "node:assert/strict";
import { once } from "node:events";
import { suite, test } from "node:test";
import { ON_ALL_BROKERS, VERSIONS } from "./support/mqtt.mjs";
import { unique } from "./support/platform.mjs";
import { connectRaw } from "./support/raw.mjs";

/** As many as may be unacknowledged. */
const PACKETS = 100;
/** The first that was ready, what was ready by the end of that turn, and what another turn found. */
const FEW_MESSAGES = 3;
const FRAMES = 200;
const ROUND_TRIPS = 50;
/** What a delivery may take longer than a pong: the work, on a slow machine, and no wait. */
const AT_ONCE_MILLIS = 10;

const publish = (topic, number, qos) => ({ cmd: "publish", topic, payload: String(number), qos, messageId: number + 1 });
const numbers = Array.from({ length: PACKETS }, (_, number) => number);

/** The packets of each WebSocket message that comes from now on. Nobody else may take them out of the inbox. */
function noteMessages(client) {
  client.inbox.length = 0;
  const messages = [];
  let seen = 0;
  client.socket.on("message", () => {
    messages.push(client.inbox.slice(seen));
    seen = client.inbox.length;
  });
  return messages;
}

const numbersOf = (packets) => packets.filter(({ cmd }) => cmd === "publish").map(({ payload }) => Number(payload));
const acknowledgedBy = (packets) => packets.filter(({ cmd }) => cmd === "puback").map(({ messageId }) => messageId - 1);

/** Connected one after the other, each subscribed with this QoS; some are on each Broker. */
async function subscribers(t, topic, { qos, protocolVersion, count = ON_ALL_BROKERS }) {
  const clients = [];
  while (clients.length < count) {
    const client = await connectRaw(t, { protocolVersion, clientId: unique("listener") });
    client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos }] });
    await client.next("suback");
    clients.push(client);
  }
  return clients;
}

for (const { version, protocolVersion } of VERSIONS) {
  suite(`What MQTT ${version} clients are sent`, () => {
    for (const qos of [0, 1]) {
      test(`${PACKETS} messages of QoS ${qos} that came in one frame leave in at most ${FEW_MESSAGES}, in order, and so do PUBACKs`, async (t) => {
        const topic = unique("together");
        // one of those who hear it is who publishes it
        const clients = await subscribers(t, topic, { qos, protocolVersion });
        const [publisher] = clients;
        // leases are asked for with the first publish, which has to wait for them
        publisher.send(publish(topic, 0, 1));
        for (const client of clients) {
          const { messageId } = await client.next("publish");
          if (qos === 1) client.send({ cmd: "puback", messageId });
        }
        await publisher.next("puback");

        const noted = clients.map(noteMessages);
        publisher.send(...numbers.map((number) => publish(topic, number, qos)));
        for (const [index, client] of clients.entries()) {
          const owed = client === publisher && qos === 1 ? 2 * PACKETS : PACKETS;
          await client.until(() => client.inbox.length >= owed, `${owed} packets`);
          assert.deepEqual(numbersOf(client.inbox), numbers);
          if (owed > PACKETS) assert.deepEqual(acknowledgedBy(client.inbox), numbers);
          const sizes = noted[index].map((packets) => packets.length);
          assert.ok(sizes.length <= FEW_MESSAGES, `${sizes.length} WebSocket messages: ${sizes}`);
        }
        t.diagnostic(`messages: ${noted.map((messages) => messages.length).join(" ")}`);
      });
    }
  });
}

suite("What is ready", () => {
  test("messages that come in a frame each leave in order, and in fewer WebSocket messages than they came in", async (t) => {
    const topic = unique("burst");
    const clients = await subscribers(t, topic, { qos: 0, protocolVersion: 4, count: 8 });
    const [publisher] = clients;
    const expected = Array.from({ length: FRAMES }, (_, number) => number);
    const counts = [];
    // How many frames a Broker finds in one turn is up to the machine: some, in one burst at least.
    while (!counts.some((count) => count < FRAMES) && counts.length < 5 * clients.length) {
      const noted = clients.map(noteMessages);
      publisher.socket._socket.cork();
      for (const number of expected) publisher.send(publish(topic, number, 0));
      publisher.socket._socket.uncork();
      for (const [index, client] of clients.entries()) {
        await client.until(() => client.inbox.length >= FRAMES, `${FRAMES} packets`);
        assert.deepEqual(numbersOf(client.inbox), expected);
        counts.push(noted[index].length);
      }
    }
    t.diagnostic(`${FRAMES} frames in, messages out: ${counts.join(" ")}`);
    assert.ok(Math.min(...counts) < FRAMES, "each of them alone, every time");
  });

  test("a message that comes alone isn't held back", async (t) => {
    const topic = unique("alone");
    const [client] = await subscribers(t, topic, { qos: 0, protocolVersion: 4, count: 1 });
    const timed = async (act) => {
      const begun = performance.now();
      await act();
      return performance.now() - begun;
    };
    const [deliveries, pongs] = [[], []];
    for (let number = 0; number <= ROUND_TRIPS; number += 1) {
      deliveries.push(await timed(() => (client.send(publish(topic, number, 0)), client.next("publish"))));
      // answered by the runtime, before it comes to any code of ours
      pongs.push(await timed(() => (client.socket.ping(), once(client.socket, "pong"))));
    }
    const median = (durations) => durations.toSorted((a, b) => a - b)[ROUND_TRIPS >> 1];
    const [delivery, pong] = [deliveries.slice(1), pongs.slice(1)].map(median);
    t.diagnostic(`median of a delivery ${delivery.toFixed(2)} ms, of a pong ${pong.toFixed(2)} ms`);
    assert.ok(delivery < pong + AT_ONCE_MILLIS, `${delivery} ms; a pong takes ${pong} ms`);
  });
});

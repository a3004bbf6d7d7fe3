// What a publish costs that nobody else wants: nothing but the work of its Broker. Calls, rows and queue messages are
// what the platform sends a bill for, and what takes time.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "./support/mqtt.mjs";
import { brokerCounts, brokersAtRest, socketMode, unique } from "./support/platform.mjs";
import { connectRaw } from "./support/raw.mjs";

const PUBLISHES = 10_000;
/** Unacknowledged at any time, which is the Receive Maximum. */
const WINDOW = 100;
/** The Broker proves once in this time, while it hands on messages by leases, that nobody has taken its place: a row. */
const FENCE_MILLIS = 2_000;

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

/** What all Brokers have done, together. */
async function done() {
  const counts = await brokerCounts();
  return {
    calls: sum(counts.flatMap(({ calls }) => Object.values(calls))),
    rows: sum(counts.map(({ rows }) => rows)),
    alarms: sum(counts.map(({ alarms }) => alarms)),
    messages: sum(counts.map(({ messages }) => messages)),
  };
}

const difference = (before, after) => Object.fromEntries(Object.entries(after).map(([what, count]) => [what, count - before[what]]));
const isFree = ({ calls, messages, alarms, rows, took }) => calls + messages + alarms === 0 && rows <= 1 + took / FENCE_MILLIS;

/** Publishes so many, a window at a time, and waits until the Broker has taken the last. */
async function publishMany(client, topics, qos) {
  for (let from = 0; from < PUBLISHES; from += WINDOW) {
    const packets = Array.from({ length: WINDOW }, (_, index) => ({
      cmd: "publish",
      topic: topics[(from + index) % topics.length],
      payload: "x".repeat(64),
      qos,
      messageId: index + 1,
    }));
    client.send(...packets);
    client.send({ cmd: "pingreq" });
    await client.next("pingresp");
    await client.until(() => client.inbox.filter(({ cmd }) => cmd === "puback").length === qos * WINDOW, "PUBACKs");
    client.inbox = client.inbox.filter(({ cmd }) => cmd !== "puback");
  }
}

suite("A publish that nobody else wants", () => {
  for (const { what, filter } of [
    { what: "", filter: undefined },
    { what: ", but its publisher itself", filter: "+/telemetry" },
  ]) {
    for (const qos of [0, 1]) {
      test(`${PUBLISHES} of QoS ${qos} that nobody wants${what} make no call and write no row`, async (t) => {
        const root = unique("nobody");
        const topics = Array.from({ length: 100 }, (_, device) => `${root}/${device}/telemetry`);
        const client = await connectRaw(t, { clientId: unique("device"), keepalive: 600 });
        if (filter) {
          client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: `${root}/${filter}`, qos: 0 }] });
          await client.next("suback");
        }
        // With the first, the Routers are asked who wants such a topic.
        client.send({ cmd: "publish", topic: topics[0], payload: "first", qos: 1, messageId: 1 });
        await client.next("puback");

        const rounds = [];
        // What else the Brokers do now and then, such as setting their next alarm, isn't done in each of three rounds.
        while (rounds.length < 3 && !rounds.some(isFree)) {
          await brokersAtRest();
          client.inbox.length = 0;
          const [before, begun] = [await done(), Date.now()];
          await publishMany(client, topics, qos);
          // what is put off until the end of a turn, or for a while, has been done by then
          await brokersAtRest();
          rounds.push({ ...difference(before, await done()), took: Date.now() - begun });
          if (filter) assert.equal(client.inbox.filter(({ cmd }) => cmd === "publish").length, PUBLISHES);
        }
        t.diagnostic(JSON.stringify(rounds));
        assert.ok(rounds.some(isFree), JSON.stringify(rounds));
      });
    }
  }

  test("what a durable session wants, what is retained and the proof are counted", async (t) => {
    // What shows that the zeros above are no accident of the counting.
    const root = unique("wanted");
    const publisher = await connect(t);
    const lasting = await connect(t, { clientId: unique("lasting"), clean: false, properties: { sessionExpiryInterval: 60 } });
    await lasting.subscribe(`${root}/durable`);
    for (const [topic, options] of [["durable", { qos: 1 }], ["retained", { qos: 1, retain: true }]]) {
      await publisher.publish(`${root}/first`, "x");
      await brokersAtRest();
      const before = await done();
      await publisher.publish(`${root}/${topic}`, "x", options);
      assert.ok((await done()).calls > before.calls, topic);
    }
    const before = await done();
    await sleep(FENCE_MILLIS);
    await publisher.publish(`${root}/first`, "x");
    assert.ok((await done()).rows > before.rows, "the proof is a row");
    await publisher.publish(`${root}/retained`, "", { qos: 1, retain: true });
  });
});

test("the sockets are of the kind that the platform was started with", async (t) => {
  const clients = [];
  for (let count = 0; count < 3; count += 1) clients.push(await connect(t));
  const hibernatable = sum((await brokerCounts()).map((counts) => counts.hibernatable));
  if (socketMode === "accepted") assert.equal(hibernatable, 0);
  else assert.ok(hibernatable >= clients.length);
});

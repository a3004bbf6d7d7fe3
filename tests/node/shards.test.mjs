// Virtual shards that move to other objects while clients are connected: what ROUTER_SHARDS and SESSIONS_SHARDS may be changed for.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { suite, test } from "node:test";
import { ListRetainedMessagesCommand } from "@aws-sdk/client-iot-data-plane";
import { connect } from "./support/mqtt.mjs";
import { contract, fireCron, iotData, restart, unique } from "./support/platform.mjs";

const durable = (clientId) => ({ clientId, clean: false, properties: { sessionExpiryInterval: 3_600 } });
const retained = { qos: 1, retain: true };
/** A client that acknowledges something while its virtual shard is frozen is closed, and refused for about a second. */
const persistent = { reconnectPeriod: 100, reconnectOnConnackError: true };

/** Publishes as a client does that wants to be sure: again, if it isn't told that the message is safe. */
async function publishSurely(publisher, topic, payload) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await publisher.publish(topic, payload);
    } catch (error) {
      if (attempt === 10) throw error;
    }
  }
}

/** What the cron trigger has said of moves since `from`, a number of lines. */
function moves(from = 0) {
  const lines = readFileSync(contract.control.log, "utf8").split("\n").slice(from);
  return lines.filter((line) => line.includes('"shards_moved"')).map((line) => JSON.parse(line));
}

/** Fires the trigger until everything is where `vars` want it. Answers how many virtual shards have moved. */
async function spread() {
  const from = readFileSync(contract.control.log, "utf8").split("\n").length - 1;
  for (let run = 0; run < 5; run += 1) {
    const before = moves(from).length;
    await fireCron();
    const now = moves(from);
    if (now.slice(before).every(({ left }) => left === 0)) return now.reduce((sum, { moved }) => sum + moved, 0);
  }
  throw new Error(`not spread after five runs: ${JSON.stringify(moves(from))}`);
}

suite("Virtual shards", () => {
  test("they move to more objects and back while clients are connected, and nothing is lost", async (t) => {
    const root = unique("moving");
    const topics = Array.from({ length: 40 }, (_, index) => `${root}/${index}`);
    const awayIds = Array.from({ length: 10 }, () => unique("away"));
    const setUp = await connect(t);
    for (const topic of topics) await setUp.publish(`${topic}/kept`, "kept", retained);
    for (const clientId of awayIds) {
      const client = await connect(t, durable(clientId));
      await client.subscribe(`${root}/0`);
      await client.end();
    }
    await setUp.publish(topics[0], "before");

    let number = 0;
    let expected = 1;
    for (const objects of ["6", "4"]) {
      await restart({ ROUTER_SHARDS: objects, SESSIONS_SHARDS: objects });
      const publisher = await connect(t);
      const clean = await connect(t);
      const lasting = await connect(t, { ...durable(unique("lasting")), ...persistent });
      for (const client of [clean, lasting]) await client.subscribe(`${root}/#`, { qos: 1, rh: 2 });

      let moved;
      const moving = spread().finally(() => (moved ??= true));
      const acknowledged = [];
      while (!moved) {
        const topic = topics[number % topics.length];
        const payload = String(number);
        number += 1;
        await publishSurely(publisher, topic, payload);
        acknowledged.push(payload);
        if (topic === topics[0]) expected += 1;
        // subscriptions come and go meanwhile
        const filter = `${topic}/+/#`;
        await clean.subscribe(filter, { qos: 1, rh: 2 });
        await clean.unsubscribe(filter);
      }
      assert.ok((await moving) >= 2 * 340, "a third of both kinds has moved");
      assert.ok(acknowledged.length > 0);

      const payloads = (client) => client.inbox.map(({ payload }) => payload.toString());
      for (const client of [clean, lasting]) {
        await client.until(() => acknowledged.every((payload) => payloads(client).includes(payload)), "all that was acknowledged");
      }
      await publishSurely(publisher, `${root}/after`, "after");
      for (const client of [clean, lasting]) await client.next(`${root}/after`);
      await lasting.end();

      // what is kept in shards is where somebody finds it who knows nothing of the moves
      const late = await connect(t);
      await late.subscribe(`${root}/+/kept`);
      await late.until(() => late.inbox.length >= topics.length, "all retained messages");
      const listed = new Set();
      for (let nextToken; ; ) {
        const page = await iotData.send(new ListRetainedMessagesCommand({ maxResults: 200, nextToken }));
        for (const { topic } of page.retainedTopics) listed.add(topic);
        nextToken = page.nextToken;
        if (!nextToken) break;
      }
      assert.ok(topics.every((topic) => listed.has(`${topic}/kept`)), "the API lists them");
    }

    for (const clientId of awayIds) {
      const client = await connect(t, durable(clientId));
      assert.equal(client.connack.sessionPresent, true);
      await client.until(() => client.inbox.length >= expected, "everything that came while it was away");
      assert.equal(client.inbox[0].payload.toString(), "before");
    }
    // other tests look at all there are
    const cleaner = await connect(t);
    for (const topic of topics) await cleaner.publish(`${topic}/kept`, "", retained);
  });
});

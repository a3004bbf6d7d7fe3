// Retained messages: what a topic says to whoever comes later.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { VERSIONS, connect, connectMany } from "./support/mqtt.mjs";
import { restart, unique } from "./support/platform.mjs";

const retained = { qos: 1, retain: true };

for (const { version, protocolVersion } of VERSIONS) {
  suite(`Retained messages with MQTT ${version}`, () => {
    test("the last retained message of a topic comes to who subscribes later, marked as retained", async (t) => {
      const topic = unique("state");
      const [publisher, live, late] = await connectMany(t, 3, { protocolVersion });
      await live.subscribe(topic);
      await publisher.publish(topic, "old", retained);
      await publisher.publish(topic, "new", retained);
      for (const payload of ["old", "new"]) {
        const message = await live.next(topic);
        assert.deepEqual([message.payload.toString(), message.packet.retain], [payload, false]);
      }
      await late.subscribe(topic);
      const message = await late.next(topic);
      assert.deepEqual([message.payload.toString(), message.packet.retain], ["new", true]);
      assert.deepEqual(late.inbox, []);
    });

    test("a subscription with wildcards gets those of all topics that match, wherever they are kept", async (t) => {
      const root = unique("tree");
      const [publisher, subscriber] = await connectMany(t, 2, { protocolVersion });
      const topics = Array.from({ length: 20 }, (_, index) => `${root}/${index}/a/b/c/${index}`);
      for (const topic of topics) await publisher.publish(topic, topic, retained);
      await subscriber.subscribe(`${root}/+/a/#`);
      for (const topic of topics) assert.equal((await subscriber.next(topic)).packet.retain, true);
      assert.deepEqual(subscriber.inbox, []);
    });

    test("an empty payload takes the retained message away and is itself delivered", async (t) => {
      const topic = unique("cleared");
      const [publisher, live, late] = await connectMany(t, 3, { protocolVersion });
      await publisher.publish(topic, "something", retained);
      await live.subscribe(topic);
      await live.next(topic);
      await publisher.publish(topic, "", retained);
      assert.equal((await live.next(topic)).payload.length, 0);
      await late.subscribe(topic);
      await publisher.publish(topic, "live");
      assert.equal((await late.next(topic)).payload.toString(), "live");
      assert.deepEqual(late.inbox, []);
    });

    test("a retained message outlives the platform's restart", async (t) => {
      const topic = unique("kept");
      await (await connect(t, { protocolVersion })).publish(topic, "still here", retained);
      await restart();
      const late = await connect(t, { protocolVersion });
      await late.subscribe(topic);
      assert.equal((await late.next(topic)).payload.toString(), "still here");
    });
  });
}

suite("Retained messages with MQTT 5.0 only", () => {
  test("Retain Handling says whether and when retained messages are sent", async (t) => {
    const topic = unique("handling");
    const [publisher, subscriber] = await connectMany(t, 2);
    await publisher.publish(topic, "kept", retained);
    const expectations = [
      [2, 0, "never"],
      [1, 0, "the subscription is there already"],
      [0, 1, "always"],
    ];
    for (const [rh, copies, why] of expectations) {
      await subscriber.subscribe(topic, { qos: 1, rh });
      // What was asked of one topic comes in order: after this there is nothing left to come.
      await publisher.publish(topic, `end ${rh}`);
      await subscriber.until(() => subscriber.texts(topic).includes(`end ${rh}`), "the end");
      assert.equal(subscriber.texts(topic).filter((text) => text === "kept").length, copies, why);
      subscriber.inbox.length = 0;
    }
    const other = await connect(t);
    await other.subscribe(topic, { qos: 1, rh: 1 });
    assert.equal((await other.next(topic)).payload.toString(), "kept");
  });

  test("Retain As Published keeps the mark on live messages", async (t) => {
    const topic = unique("published");
    const [publisher, subscriber] = await connectMany(t, 2);
    await subscriber.subscribe(topic, { qos: 1, rap: true });
    await publisher.publish(topic, "marked", retained);
    await publisher.publish(topic, "unmarked");
    assert.equal((await subscriber.next(topic)).packet.retain, true);
    assert.equal((await subscriber.next(topic)).packet.retain, false);
  });

  test("a retained message ends with its Message Expiry Interval", async (t) => {
    // Two topics: whatever takes long on a slow machine, the one that stays is there and the one that ends is not.
    const [root, ends, stays] = [unique("expires"), "ends", "stays"];
    const [publisher, late] = await connectMany(t, 2);
    const expiring = (messageExpiryInterval) => ({ ...retained, properties: { messageExpiryInterval } });
    await publisher.publish(`${root}/${ends}`, "short", expiring(1));
    await publisher.publish(`${root}/${stays}`, "long", expiring(600));
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    await late.subscribe(`${root}/+`);
    const { payload, packet } = await late.next(`${root}/${stays}`);
    assert.equal(payload.toString(), "long");
    assert.ok(packet.properties.messageExpiryInterval <= 598, "what is left of the interval is told [MQTT-3.3.2-6]");
    await publisher.publish(`${root}/${ends}`, "live");
    assert.equal((await late.next(`${root}/${ends}`)).payload.toString(), "live");
  });

  test("a retained message keeps the properties it was published with", async (t) => {
    const topic = unique("properties");
    const [publisher, subscriber] = await connectMany(t, 2);
    const properties = { contentType: "text/plain", responseTopic: "r", correlationData: Buffer.from("c"), userProperties: { a: "1" } };
    await publisher.publish(topic, "with", { ...retained, properties });
    await subscriber.subscribe(topic);
    const { packet } = await subscriber.next(topic);
    assert.equal(packet.properties.contentType, "text/plain");
    assert.equal(packet.properties.responseTopic, "r");
    assert.equal(packet.properties.correlationData.toString(), "c");
    assert.equal(packet.properties.userProperties.a, "1");
  });
});

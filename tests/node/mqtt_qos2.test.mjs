// QoS 2 both ways: exactly once, over connections that end at any moment.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { VERSIONS, connect, connectMany } from "./support/mqtt.mjs";
import { unique } from "./support/platform.mjs";
import { connectRaw } from "./support/raw.mjs";

const PACKET_IDENTIFIER_NOT_FOUND = 0x92;

for (const { version, protocolVersion } of VERSIONS) {
  suite(`QoS 2 with MQTT ${version}`, { concurrency: true }, () => {
    test("a message of QoS 2 comes with the lower of its own and the subscription's QoS, once", async (t) => {
      const topic = unique("twice");
      const [publisher, ...subscribers] = await connectMany(t, 7, { protocolVersion });
      for (const [index, subscriber] of subscribers.entries()) await subscriber.subscribe(topic, { qos: index % 3 });
      for (const qos of [2, 1, 0]) await publisher.publish(topic, `published with ${qos}`, { qos });
      for (const [index, subscriber] of subscribers.entries()) {
        for (const qos of [2, 1, 0]) {
          const { payload, packet } = await subscriber.next(topic);
          assert.equal(payload.toString(), `published with ${qos}`);
          assert.equal(packet.qos, Math.min(qos, index % 3));
        }
        assert.deepEqual(subscriber.inbox, []);
      }
    });

    test("a PUBLISH that is sent again before PUBREL is not a second message", async (t) => {
      const topic = unique("again");
      const subscriber = await connect(t, { protocolVersion });
      await subscriber.subscribe(topic, { qos: 2 });
      const raw = await connectRaw(t, { protocolVersion, clientId: unique("raw") });
      const publish = { cmd: "publish", topic, payload: "once", qos: 2, messageId: 7, dup: false, retain: false };
      raw.send(publish);
      assert.equal((await raw.next("pubrec")).messageId, 7);
      raw.send({ ...publish, dup: true });
      assert.equal((await raw.next("pubrec")).messageId, 7);
      raw.send({ cmd: "pubrel", messageId: 7 });
      assert.equal((await raw.next("pubcomp")).messageId, 7);
      raw.send({ ...publish, payload: "the identifier is free again" });
      await raw.next("pubrec");
      assert.equal((await subscriber.next(topic)).payload.toString(), "once");
      assert.equal((await subscriber.next(topic)).payload.toString(), "the identifier is free again");
    });

    test("PUBREL for an identifier that is not in use is answered", async (t) => {
      const raw = await connectRaw(t, { protocolVersion, clientId: unique("raw") });
      raw.send({ cmd: "pubrel", messageId: 99 });
      const pubcomp = await raw.next("pubcomp");
      assert.equal(pubcomp.messageId, 99);
      if (protocolVersion === 5) assert.equal(pubcomp.reasonCode, PACKET_IDENTIFIER_NOT_FOUND);
    });

    test("a session that was cut off in the middle of QoS 2 goes on where it was, both ways", async (t) => {
      const [topic, clientId] = [unique("middle"), unique("cut")];
      const durable = protocolVersion === 5 ? { clean: false, properties: { sessionExpiryInterval: 600 } } : { clean: false };
      const publisher = await connect(t, { protocolVersion });
      const first = await connectRaw(t, { protocolVersion, clientId, ...durable });
      first.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 2 }] });
      await first.next("suback");
      await publisher.publish(topic, "to the session", { qos: 2 });
      const delivered = await first.next("publish");
      first.send({ cmd: "pubrec", messageId: delivered.messageId });
      await first.next("pubrel");
      first.send({ cmd: "publish", topic: `${topic}/up`, payload: "up", qos: 2, messageId: 5, dup: false, retain: false });
      await first.next("pubrec");
      first.socket.terminate();

      const second = await connectRaw(t, { protocolVersion, clientId, ...durable });
      assert.equal((await second.next("pubrel")).messageId, delivered.messageId);
      second.send({ cmd: "pubcomp", messageId: delivered.messageId });
      second.send({ cmd: "pubrel", messageId: 5 });
      assert.equal((await second.next("pubcomp")).messageId, 5);
      await publisher.publish(topic, "the next", { qos: 2 });
      assert.equal((await second.next("publish")).payload.toString(), "the next");
    });
  });
}

// Publish and subscribe between clients, on whichever Brokers they are.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ON_ALL_BROKERS, VERSIONS, connect, connectMany, open } from "./support/mqtt.mjs";
import { unique, within } from "./support/platform.mjs";
import { connectPacket, connectRaw, upgrade } from "./support/raw.mjs";

const MARKER = "marker";

/** Receive Maximum is 100, and MQTT.js does not count. */
const WINDOW = 50;

for (const { version, protocolVersion } of VERSIONS) {
  suite(`MQTT ${version}`, { concurrency: 4 }, () => {
    for (const qos of [0, 1]) {
      test(`every subscriber on every Broker gets each QoS ${qos} message once`, async (t) => {
        const topic = unique("all-to-all");
        const clients = await connectMany(t, ON_ALL_BROKERS, { protocolVersion });
        await Promise.all(clients.map((client) => client.subscribe(topic, { qos })));
        await Promise.all(clients.map((client) => client.publish(topic, client.id, { qos })));
        // what is acknowledged after the others shows that nothing more is to come
        await Promise.all(clients.map((client) => client.publish(topic, MARKER, { qos: 1 })));
        const expected = clients.map((client) => client.id).sort();
        for (const client of clients) {
          await client.until(() => client.texts(topic).filter((text) => text === MARKER).length === clients.length, "all markers");
          assert.deepEqual(client.texts(topic).filter((text) => text !== MARKER).sort(), expected);
          assert.ok(client.inbox.every(({ packet }) => !packet.dup && !packet.retain));
        }
      });

      test(`200 messages of one publisher at QoS ${qos} arrive in order everywhere`, async (t) => {
        const topic = unique("order");
        const [publisher, ...subscribers] = await connectMany(t, 7, { protocolVersion });
        await Promise.all(subscribers.map((client) => client.subscribe(topic, { qos })));
        const numbers = Array.from({ length: 200 }, (_, index) => String(index));
        for (let from = 0; from < numbers.length; from += WINDOW) {
          await Promise.all(numbers.slice(from, from + WINDOW).map((number) => publisher.publish(topic, number, { qos })));
        }
        for (const client of subscribers) {
          await client.until(() => client.inbox.length >= numbers.length, "200 messages");
          assert.deepEqual(client.texts(topic), numbers);
        }
      });

      test(`a message goes out with the lower of its own QoS and the subscription's, which is ${qos}`, async (t) => {
        const topic = unique("lower-qos");
        const [publisher, subscriber] = await connectMany(t, 2, { protocolVersion });
        const [granted] = await subscriber.subscribe(topic, { qos });
        assert.equal(granted.qos, qos);
        await publisher.publish(topic, "0", { qos: 0 });
        await publisher.publish(topic, "1", { qos: 1 });
        assert.equal((await subscriber.next(topic)).packet.qos, 0);
        assert.equal((await subscriber.next(topic)).packet.qos, qos);
      });
    }

    test("wildcards match the levels that the standard says", async (t) => {
      const root = unique("wild");
      const rows = [
        [`${root}/+/c`, [`${root}/b/c`, `${root}//c`]],
        [`${root}/#`, [root, `${root}/b`, `${root}/b/c`, `${root}//c`, `${root}/b/c/d`]],
        [`+/${root}`, [`/${root}`, `x/${root}`]],
        [`${root}/+`, [`${root}/b`]],
        [`${root}/+/+/#`, [`${root}/b/c`, `${root}//c`, `${root}/b/c/d`]],
      ];
      const topics = [root, `${root}/b`, `${root}/b/c`, `${root}//c`, `${root}/b/c/d`, `/${root}`, `x/${root}`];
      const [publisher, ...subscribers] = await connectMany(t, 1 + rows.length, { protocolVersion });
      const last = unique("last");
      await Promise.all(subscribers.map((client, index) => client.subscribe([rows[index][0], last])));
      for (const topic of topics) await publisher.publish(topic, "x");
      await publisher.publish(last, MARKER);
      for (const [index, client] of subscribers.entries()) {
        const [filter, expected] = rows[index];
        await client.next(last);
        assert.deepEqual(client.inbox.map(({ topic }) => topic).sort(), [...expected].sort(), filter);
      }
    });

    test("a topic that begins with $ matches no filter that begins with a wildcard", async (t) => {
      const thing = unique("thing");
      const [publisher, everything, exact] = await connectMany(t, 3, { protocolVersion });
      const request = `$aws/things/${thing}/shadow/update`;
      const last = unique("last");
      await everything.subscribe("#");
      await everything.subscribe(`+/things/${thing}/#`);
      await exact.subscribe([request, `$aws/things/${thing}/#`]);
      await publisher.publish(request, { state: { reported: { a: 1 } } });
      await exact.next(request);
      await exact.next(`${request}/accepted`);
      await publisher.publish(last, MARKER);
      await everything.next(last);
      assert.deepEqual(everything.inbox.filter(({ topic }) => topic.startsWith("$")), []);
    });

    test("a client with overlapping subscriptions gets one copy at the highest QoS", async (t) => {
      const root = unique("overlap");
      const [publisher, subscriber] = await connectMany(t, 2, { protocolVersion });
      await subscriber.subscribe(`${root}/#`, { qos: 0 });
      await subscriber.subscribe(`${root}/+`, { qos: 1 });
      await publisher.publish(`${root}/a`, "once");
      await publisher.publish(`${root}/b`, MARKER);
      await subscriber.next(`${root}/b`);
      assert.deepEqual(subscriber.texts(`${root}/a`), ["once"]);
      assert.equal(subscriber.inbox[0].packet.qos, 1);
    });

    test("nothing arrives after UNSUBACK, and the other subscriptions go on", async (t) => {
      const [gone, kept] = [unique("gone"), unique("kept")];
      const [publisher, subscriber, other] = await connectMany(t, 3, { protocolVersion });
      await subscriber.subscribe([gone, kept]);
      await other.subscribe(gone);
      await subscriber.unsubscribe(gone);
      await publisher.publish(gone, "for the other");
      await publisher.publish(kept, MARKER);
      await other.next(gone);
      await subscriber.next(kept);
      assert.deepEqual(subscriber.inbox, []);
    });

    test("a filter with two subscribers on one connection's Broker survives the other's UNSUBSCRIBE", async (t) => {
      const topic = unique("shared-filter");
      const clients = await connectMany(t, 8, { protocolVersion });
      const publisher = await connect(t, { protocolVersion });
      await Promise.all(clients.map((client) => client.subscribe(topic)));
      const [stays, ...leave] = clients;
      await Promise.all(leave.map((client) => client.unsubscribe(topic)));
      await publisher.publish(topic, "still here");
      await stays.next(topic);
      assert.ok(leave.every((client) => client.inbox.length === 0));
    });

    test("a payload of 100 KB and an empty one arrive as they were", async (t) => {
      const topic = unique("large");
      const [publisher, ...subscribers] = await connectMany(t, 5, { protocolVersion });
      await Promise.all(subscribers.map((client) => client.subscribe(topic)));
      const large = Buffer.from(Array.from({ length: 100 * 1024 }, (_, index) => (index * 31) % 251));
      await publisher.publish(topic, large);
      await publisher.publish(topic, "");
      for (const client of subscribers) {
        assert.ok((await client.next(topic)).payload.equals(large));
        assert.equal((await client.next(topic)).payload.length, 0);
      }
    });

    test("packets are read though each byte comes in a WebSocket message of its own", async (t) => {
      const topic = unique("split");
      const { client } = await upgrade(t, { protocolVersion });
      const packets = [
        connectPacket({ protocolVersion, clientId: unique("split") }),
        { cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 1 }] },
        { cmd: "publish", messageId: 2, topic, payload: "byte by byte", qos: 1 },
        { cmd: "pingreq" },
      ];
      for (const byte of Buffer.concat(packets.map((packet) => client.encode(packet)))) client.socket.send(Buffer.of(byte));
      assert.equal((await client.next("connack"))[protocolVersion === 5 ? "reasonCode" : "returnCode"], 0);
      assert.deepEqual([...(await client.next("suback")).granted], [1]);
      assert.equal((await client.next("publish")).payload.toString(), "byte by byte");
      assert.equal((await client.next("puback")).messageId, 2);
      await client.next("pingresp");
    });

    test("packets are read though several come in one WebSocket message, CONNECT among them", async (t) => {
      const topic = unique("packed");
      const { client } = await upgrade(t, { protocolVersion });
      const publishes = [2, 3, 4].map((messageId) => ({ cmd: "publish", messageId, topic, payload: `${messageId}`, qos: 1 }));
      client.send(
        connectPacket({ protocolVersion, clientId: unique("packed") }),
        { cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 0 }] },
        ...publishes,
        { cmd: "pingreq" },
      );
      await client.next("connack");
      await client.next("suback");
      for (const { messageId, payload } of publishes) {
        assert.equal((await client.next("puback")).messageId, messageId);
        assert.equal((await client.next("publish")).payload.toString(), payload);
      }
      await client.next("pingresp");
    });

    test("PINGREQ is answered with PINGRESP", async (t) => {
      const client = await connectRaw(t, { protocolVersion, clientId: unique("ping") });
      client.send({ cmd: "pingreq" });
      await client.next("pingresp");
    });

    for (const qos of [0, 1]) {
      test(`a will of QoS ${qos} is published when the connection breaks`, async (t) => {
        const topic = unique("will");
        const subscriber = await connect(t, { protocolVersion });
        await subscriber.subscribe(topic);
        const will = { topic, payload: Buffer.from("gone"), qos, retain: false };
        const client = await connectRaw(t, { protocolVersion, clientId: unique("mortal"), will });
        client.socket.terminate();
        const { payload, packet } = await subscriber.next(topic);
        assert.equal(payload.toString(), "gone");
        assert.equal(packet.qos, qos);
      });
    }

    test("a will is published when a packet breaks the protocol", async (t) => {
      const topic = unique("will");
      const subscriber = await connect(t, { protocolVersion });
      await subscriber.subscribe(topic);
      const will = { topic, payload: Buffer.from("gone"), qos: 1, retain: false };
      const client = await connectRaw(t, { protocolVersion, clientId: unique("mortal"), will });
      client.socket.send(Buffer.of(0x00, 0x00));
      await subscriber.next(topic);
      await within(client.closed, "the end of the connection");
    });

    test("a will is not published after DISCONNECT", async (t) => {
      const [willTopic, last] = [unique("will"), unique("last")];
      const [publisher, subscriber] = await connectMany(t, 2, { protocolVersion });
      await subscriber.subscribe([willTopic, last]);
      const will = { topic: willTopic, payload: Buffer.from("gone"), qos: 1, retain: false };
      const client = await connectRaw(t, { protocolVersion, clientId: unique("polite"), will });
      client.send({ cmd: "disconnect" });
      await within(client.closed, "the end of the connection");
      await publisher.publish(last, MARKER);
      await subscriber.next(last);
      assert.deepEqual(subscriber.inbox, []);
    });
  });
}

suite("MQTT 5.0 only", { concurrency: 4 }, () => {
  test("with no_local a client does not get its own messages, others do", async (t) => {
    const topic = unique("no-local");
    const [self, other] = await connectMany(t, 2);
    await self.subscribe(topic, { qos: 1, nl: true });
    await other.subscribe(topic, { qos: 1, nl: true });
    await self.publish(topic, "of self");
    await other.publish(topic, "of other");
    await self.next(topic).then(({ payload }) => assert.equal(payload.toString(), "of other"));
    await other.next(topic).then(({ payload }) => assert.equal(payload.toString(), "of self"));
    await self.publish(topic, MARKER);
    await other.next(topic);
    assert.deepEqual([...self.inbox, ...other.inbox], []);
  });

  test("user properties, content type, response topic, correlation data, format and expiry are passed on", async (t) => {
    const topic = unique("properties");
    const [publisher, ...subscribers] = await connectMany(t, 5);
    await Promise.all(subscribers.map((client) => client.subscribe(topic)));
    const properties = {
      userProperties: { unit: ["°C", "°F"], place: "roof" },
      contentType: "application/json",
      responseTopic: "answers/here",
      correlationData: Buffer.from([0, 1, 254, 255]),
      payloadFormatIndicator: true,
      messageExpiryInterval: 600,
    };
    await publisher.publish(topic, "{}", { qos: 1, properties });
    for (const client of subscribers) {
      const { messageExpiryInterval, ...passed } = (await client.next(topic)).packet.properties;
      const { messageExpiryInterval: sent, ...expected } = properties;
      assert.deepEqual({ ...passed, userProperties: { ...passed.userProperties } }, expected);
      assert.ok(messageExpiryInterval <= sent && messageExpiryInterval > sent - 60);
    }
  });

  test("an MQTT 3.1.1 subscriber gets the payload of a message with properties", async (t) => {
    const topic = unique("mixed");
    const old = await connect(t, { protocolVersion: 4 });
    const publisher = await connect(t);
    await old.subscribe(topic);
    await publisher.publish(topic, "plain", { qos: 1, properties: { contentType: "text/plain" } });
    const { payload, packet } = await old.next(topic);
    assert.equal(payload.toString(), "plain");
    assert.equal(packet.properties, undefined);
  });

  test("a message carries the subscription identifiers of all filters that match", async (t) => {
    const root = unique("identifiers");
    const [publisher, subscriber] = await connectMany(t, 2);
    await subscriber.subscribe(`${root}/#`, { qos: 1, properties: { subscriptionIdentifier: 7 } });
    await subscriber.subscribe(`${root}/+`, { qos: 1, properties: { subscriptionIdentifier: 268_435_455 } });
    await publisher.publish(`${root}/a`, "two");
    await publisher.publish(`${root}/a/b`, "one");
    const identifiers = async (topic) => [(await subscriber.next(topic)).packet.properties.subscriptionIdentifier].flat().sort((a, b) => a - b);
    assert.deepEqual(await identifiers(`${root}/a`), [7, 268_435_455]);
    assert.deepEqual(await identifiers(`${root}/a/b`), [7]);
  });

  test("UNSUBACK says which filters were subscribed", async (t) => {
    const topic = unique("unsuback");
    const client = await connectRaw(t, { protocolVersion: 5, clientId: unique("unsuback") });
    client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 0 }] });
    await client.next("suback");
    client.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: [topic, `${topic}/never`] });
    assert.deepEqual([...(await client.next("unsuback")).granted], [0x00, 0x11]);
  });

  test("a DISCONNECT with reason 0x04 has the will published", async (t) => {
    const topic = unique("will");
    const subscriber = await connect(t);
    await subscriber.subscribe(topic);
    const will = { topic, payload: Buffer.from("on purpose"), qos: 1, retain: false, properties: { contentType: "text/plain" } };
    const client = await connectRaw(t, { protocolVersion: 5, clientId: unique("mortal"), will });
    client.send({ cmd: "disconnect", reasonCode: 0x04 });
    assert.equal((await subscriber.next(topic)).packet.properties.contentType, "text/plain");
  });

  test("CONNACK takes back nothing that the standard offers", async (t) => {
    const client = await connectRaw(t, { protocolVersion: 5, clientId: unique("limits") });
    const { properties } = client.connack;
    assert.equal(properties.maximumQoS, undefined, "QoS 2");
    for (const name of ["retainAvailable", "wildcardSubscriptionAvailable", "subscriptionIdentifiersAvailable", "sharedSubscriptionAvailable"]) {
      assert.notEqual(properties[name], false, name);
    }
    assert.ok(properties.receiveMaximum > 0 && properties.topicAliasMaximum > 0 && properties.maximumPacketSize > 0);
  });
});

suite("WebSocket", () => {
  for (const { offered, chosen } of [
    { offered: ["mqtt"], chosen: "mqtt" },
    { offered: ["mqttv3.1"], chosen: "mqttv3.1" },
    { offered: ["mqttv3.1", "mqtt"], chosen: "mqtt" },
    { offered: ["chat", "mqtt"], chosen: "mqtt" },
  ]) {
    test(`of the subprotocols ${offered.join(", ")} ${chosen} is chosen`, async (t) => {
      const { client, subprotocol } = await upgrade(t, { subprotocols: offered });
      assert.equal(subprotocol, chosen);
      client.send(connectPacket({ clientId: unique("subprotocol") }));
      assert.equal((await client.next("connack")).returnCode, 0);
    });
  }

  test("a client that cannot connect does not keep others from connecting", async (t) => {
    const bad = open(t, { password: "wrong" });
    await assert.rejects(bad.connected());
    await connect(t);
  });
});

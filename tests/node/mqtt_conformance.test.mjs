// Statements of the standards that only the running platform can show, and that no other file here does:
// tests/conformance lists which.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ON_ALL_BROKERS, VERSIONS, connect, connectMany } from "./support/mqtt.mjs";
import { unique, within } from "./support/platform.mjs";
import { connectRaw } from "./support/raw.mjs";

/** How long what must not come gets for coming. */
const GRACE_MILLIS = 700;

/** Options of a session that lasts. */
const durable = (protocolVersion, clientId, sessionExpiryInterval = 600) => ({
  protocolVersion,
  clientId,
  clean: false,
  ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval } } : {}),
});

async function cutOff(client) {
  client.mqtt.stream.destroy();
  await within(client.closed, "the end of the connection");
}

async function cutOffRaw(client) {
  client.socket.terminate();
  await within(client.closed, "the end of the connection");
}

/** What is left in the inbox once everything that was under way has come. */
async function leftover(client) {
  const topic = unique("marker");
  await sleep(GRACE_MILLIS);
  await client.subscribe(topic);
  await client.publish(topic, "");
  await client.next(topic);
  return client.inbox.map((message) => [message.topic, message.payload.toString()]);
}

/** The retained messages that a new subscription gets, as `[topic, payload, QoS]` in the order of the topics. */
async function retainedOf(t, protocolVersion, filter, qos = 2) {
  const client = await connect(t, { protocolVersion });
  await client.subscribe(filter, { qos });
  await leftover(client);
  assert.ok(client.inbox.every(({ packet }) => packet.retain), "what comes of the past is marked as retained");
  return client.inbox.map(({ topic, payload, packet }) => [topic, payload.toString(), packet.qos]).sort();
}

// Alone, and first: whatever anybody publishes would be noticed.
suite("Connections without a will", () => {
  for (const { version, protocolVersion } of VERSIONS) {
    test(`a connection without a will that breaks publishes nothing, MQTT ${version}`, async (t) => {
      // [MQTT-3.1.2-12] of MQTT 3.1.1
      const [clientId, topic] = [unique("will-less"), unique("earlier-will")];
      const watcher = await connect(t, { protocolVersion });
      const gone = `$aws/events/presence/disconnected/${clientId}`;
      await watcher.subscribe(["#", gone]);
      await leftover(watcher);
      watcher.inbox.length = 0; // what others have retained
      const earlier = await connect(t, { protocolVersion, clientId, will: { topic, payload: "of another connection", qos: 1, retain: false } });
      await earlier.end();
      await watcher.next(gone);
      await cutOff(await connect(t, { protocolVersion, clientId }));
      await watcher.next(gone);
      await leftover(watcher);
      // What is retained is of tests before this one.
      assert.deepEqual(watcher.inbox.filter(({ packet }) => !packet.retain).map(({ topic }) => topic), []);
    });
  }
});

for (const { version, protocolVersion } of VERSIONS) {
  suite(`Wills with MQTT ${version}`, { concurrency: true }, () => {
    test("a will that was published is not published again when its session is resumed or ends", async (t) => {
      // [MQTT-3.1.2-10]
      const [clientId, topic] = [unique("once"), unique("once")];
      const watcher = await connect(t, { protocolVersion });
      await watcher.subscribe(topic);
      const options = durable(protocolVersion, clientId);
      await cutOff(await connect(t, { ...options, will: { topic, payload: "gone", qos: 1, retain: false } }));
      assert.equal((await watcher.next(topic)).payload.toString(), "gone");

      const resumed = await connect(t, options);
      assert.equal(resumed.connack.sessionPresent, true);
      assert.deepEqual(await leftover(watcher), [], "the session is resumed");
      await cutOff(resumed);
      assert.deepEqual(await leftover(watcher), [], "a connection without a will breaks");
      const anew = await connect(t, { ...options, clean: true, properties: undefined });
      assert.equal(anew.connack.sessionPresent, false);
      assert.deepEqual(await leftover(watcher), [], "the session is discarded");
      await anew.end();
      assert.deepEqual(await leftover(watcher), [], "the session after it ends");
    });

    test("a will is retained if and only if it asks for it", async (t) => {
      // [MQTT-3.1.2-14] and [MQTT-3.1.2-15]; of MQTT 3.1.1 [MQTT-3.1.2-16] and [MQTT-3.1.2-17]
      const root = unique("will-retain");
      const watcher = await connect(t, { protocolVersion });
      await watcher.publish(`${root}/false`, "kept from before", { qos: 1, retain: true });
      await watcher.publish(`${root}/true`, "replaced", { qos: 1, retain: true });
      await watcher.subscribe(`${root}/+/live`);
      for (const retain of [false, true]) {
        await watcher.subscribe(`${root}/${retain}`);
        await watcher.next(`${root}/${retain}`);
        const will = { topic: `${root}/${retain}`, payload: "will", qos: 1, retain };
        await cutOff(await connect(t, { protocolVersion, will }));
        const live = await watcher.next(`${root}/${retain}`);
        assert.deepEqual([live.payload.toString(), live.packet.retain], ["will", false], "to a subscription in force");
      }
      assert.deepEqual(await retainedOf(t, protocolVersion, `${root}/+`), [
        [`${root}/false`, "kept from before", 1],
        [`${root}/true`, "will", 1],
      ]);
    });
  });

  suite(`Messages with MQTT ${version}`, { concurrency: true }, () => {
    test("a PUBLISH with DUP 1 reaches its subscribers with DUP 0", async (t) => {
      // [MQTT-3.3.1-3]
      const topic = unique("dup");
      const subscriber = await connect(t, { protocolVersion });
      await subscriber.subscribe(topic, { qos: 2 });
      const raw = await connectRaw(t, { protocolVersion, clientId: unique("raw") });
      // The first was lost with an earlier connection, for all that the server knows.
      raw.send({ cmd: "publish", topic, payload: "1", qos: 1, messageId: 1, dup: true, retain: false });
      await raw.next("puback");
      raw.send({ cmd: "publish", topic, payload: "2", qos: 2, messageId: 2, dup: true, retain: false });
      await raw.next("pubrec");
      raw.send({ cmd: "pubrel", messageId: 2 });
      await raw.next("pubcomp");
      for (const qos of [1, 2]) {
        const { payload, packet } = await subscriber.next(topic);
        assert.deepEqual([payload.toString(), packet.qos, packet.dup], [String(qos), qos, false]);
      }
    });

    test("UNSUBSCRIBE ends the subscription to the very same filter, not to one that matches it or that it matches", async (t) => {
      // [MQTT-3.10.4-1]
      const root = unique("equal");
      const rows = [
        { held: ["b", "+"], ended: "b", expected: ["b", "c", "B"] },
        { held: ["b", "+"], ended: "+", expected: ["b"] },
        { held: ["+", "#"], ended: "+", expected: ["b", "c", "B", "b/d"] },
        { held: ["+", "#"], ended: "#", expected: ["b", "c", "B"] },
        { held: ["b/d", "b/+"], ended: "b/d", expected: ["b/d"] },
        { held: ["b", "B"], ended: "b", expected: ["B"] },
        { held: ["b", "c"], ended: "+", expected: ["b", "c"] },
        { held: ["b", "b/d"], ended: "b/#", expected: ["b", "b/d"] },
        { held: ["b"], ended: "b/", expected: ["b"] },
        { held: ["b"], ended: "b", expected: [] },
      ];
      const [publisher, ...subscribers] = await connectMany(t, 1 + rows.length, { protocolVersion });
      for (const [index, subscriber] of subscribers.entries()) {
        const { held, ended } = rows[index];
        await subscriber.subscribe(held.map((filter) => `${root}/${filter}`));
        await subscriber.unsubscribe(`${root}/${ended}`);
      }
      for (const level of ["b", "c", "B", "b/d"]) await publisher.publish(`${root}/${level}`, level);
      await Promise.all(
        subscribers.map(async (subscriber, index) => {
          const { held, ended, expected } = rows[index];
          const came = await leftover(subscriber);
          assert.deepEqual(came.map(([, level]) => level), expected, `of ${held.join(" and ")}, without ${ended}`);
        }),
      );
    });

    for (const { qos, reached, answer } of [
      { qos: 1, reached: "QoS 1 before PUBACK", answer: () => {} },
      { qos: 2, reached: "QoS 2 before PUBREC", answer: () => {} },
      {
        qos: 2,
        reached: "QoS 2 before PUBCOMP",
        answer: async (raw, messageId) => {
          raw.send({ cmd: "pubrec", messageId });
          await raw.next("pubrel");
        },
      },
    ]) {
      test(`a delivery with ${reached} is completed on the next connection though its filter was unsubscribed`, async (t) => {
        // [MQTT-3.10.4-3]
        const [topic, clientId] = [unique("begun"), unique("unsubscribed")];
        const publisher = await connect(t, { protocolVersion });
        const first = await connectRaw(t, durable(protocolVersion, clientId));
        first.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos }] });
        await first.next("suback");
        const published = publisher.publish(topic, "begun", { qos });
        const { messageId } = await first.next("publish");
        await answer(first, messageId);
        first.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: [topic] });
        await first.next("unsuback");
        await cutOffRaw(first);
        await published;
        await publisher.publish(topic, "too late", { qos });

        const second = await connectRaw(t, durable(protocolVersion, clientId));
        assert.equal(second.connack.sessionPresent, true);
        if (reached.endsWith("PUBCOMP")) {
          assert.equal((await second.next("pubrel")).messageId, messageId);
          second.send({ cmd: "pubcomp", messageId });
        } else {
          const again = await second.next("publish");
          assert.deepEqual([again.messageId, again.dup, again.payload.toString()], [messageId, true, "begun"]);
          second.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId });
          if (qos === 2) {
            assert.equal((await second.next("pubrel")).messageId, messageId);
            second.send({ cmd: "pubcomp", messageId });
          }
        }
        await sleep(GRACE_MILLIS);
        assert.deepEqual(second.inbox, [], "it came from no subscription that is in force");
      });
    }

    for (const { session, options } of [
      { session: "ends with its connection", options: (clientId) => ({ protocolVersion, clientId }) },
      { session: "outlives its connection", options: (clientId) => durable(protocolVersion, clientId) },
    ]) {
      test(`a filter that is subscribed again sends its retained messages again and loses no other, in a session that ${session}`, async (t) => {
        // [MQTT-3.8.4-4]; of MQTT 3.1.1 [MQTT-3.8.4-3]
        const root = unique("resubscribe");
        const publisher = await connect(t, { protocolVersion });
        const subscriber = await connect(t, options(unique("subscriber")));
        const kept = [0, 1, 2].map((qos) => `${root}/kept-${qos}`);
        for (const [qos, topic] of kept.entries()) await publisher.publish(topic, "retained", { qos, retain: true });
        const copies = () => kept.map((topic) => subscriber.texts(topic).length);
        /** Asked again before they have come, they come once for both. */
        const subscribed = async (times) => {
          await subscriber.subscribe(`${root}/+`, { qos: 2 });
          await subscriber.until(() => copies().every((count) => count >= times), `${times} copies of the retained messages`);
        };
        await subscribed(1);
        let number = 0;
        let enough = false;
        const publishing = (async () => {
          for (; !enough; number += 1) await publisher.publish(`${root}/live`, String(number));
        })();
        const TIMES = 9;
        for (let times = 2; times <= TIMES; times += 1) {
          await sleep(20);
          await subscribed(times);
        }
        enough = true;
        await publishing;
        await leftover(subscriber);
        assert.deepEqual(subscriber.texts(`${root}/live`).map(Number), Array.from({ length: number }, (_, index) => index));
        assert.ok(number > TIMES, `${number} messages were published`);
        assert.deepEqual(copies(), [TIMES, TIMES, TIMES]);

        // It is one subscription still, with the last QoS that was asked for.
        subscriber.inbox.length = 0;
        await subscriber.subscribe(`${root}/+`, { qos: 0 });
        await publisher.publish(`${root}/live`, "last");
        assert.equal((await subscriber.next(`${root}/live`)).packet.qos, 0);
        assert.deepEqual((await leftover(subscriber)).sort(), kept.map((topic) => [topic, "retained"]));
      });
    }
  });

  suite(`What is retained with MQTT ${version}`, { concurrency: true }, () => {
    test("a retained message is kept with its QoS and comes with the lower of that and the subscription's", async (t) => {
      // [MQTT-3.3.1-5]
      const root = unique("retained-qos");
      const publisher = await connect(t, { protocolVersion });
      for (const qos of [0, 1, 2]) await publisher.publish(`${root}/a/b/c/${qos}`, `with ${qos}`, { qos, retain: true });
      for (const subscribed of [2, 1, 0]) {
        const expected = [0, 1, 2].map((qos) => [`${root}/a/b/c/${qos}`, `with ${qos}`, Math.min(qos, subscribed)]);
        assert.deepEqual(await retainedOf(t, protocolVersion, `${root}/a/b/c/+`, subscribed), expected);
      }
    });

    test("a retained message with QoS 0 replaces or removes the one before, whatever its QoS", async (t) => {
      // [MQTT-3.3.1-7] of MQTT 3.1.1, [MQTT-3.3.1-5] and [MQTT-3.3.1-6] of MQTT 5.0
      const root = unique("retained-0");
      const publisher = await connect(t, { protocolVersion });
      for (const qos of [0, 1, 2]) {
        for (const what of ["replaced", "removed"]) await publisher.publish(`${root}/a/b/c/${what}-${qos}`, "before", { qos, retain: true });
      }
      for (const qos of [0, 1, 2]) {
        await publisher.publish(`${root}/a/b/c/replaced-${qos}`, "after", { qos: 0, retain: true });
        await publisher.publish(`${root}/a/b/c/removed-${qos}`, "", { qos: 0, retain: true });
      }
      // Its acknowledgement says that those before it, which get none, have been dealt with.
      await publisher.publish(`${root}/a/b/c/sync`, "", { qos: 1, retain: true });
      const expected = [0, 1, 2].map((qos) => [`${root}/a/b/c/replaced-${qos}`, "after", 0]);
      assert.deepEqual(await retainedOf(t, protocolVersion, `${root}/a/b/c/+`), expected);
    });

    test("a message with RETAIN 0 neither is kept nor changes what is kept", async (t) => {
      // [MQTT-3.3.1-8]; of MQTT 3.1.1 [MQTT-3.3.1-12]
      const root = unique("unretained");
      const publisher = await connect(t, { protocolVersion });
      await publisher.publish(`${root}/kept`, "kept", { qos: 1, retain: true });
      for (const topic of [`${root}/kept`, `${root}/not-kept`]) {
        for (const qos of [0, 1, 2]) {
          await publisher.publish(topic, "live", { qos, retain: false });
          await publisher.publish(topic, "", { qos, retain: false });
        }
      }
      assert.deepEqual(await retainedOf(t, protocolVersion, `${root}/+`), [[`${root}/kept`, "kept", 1]]);
    });
  });
}

suite("Wills with MQTT 5.0 only", { concurrency: true }, () => {
  const DELAY_SECONDS = 600;

  test("the User Properties of a will are published in their order", async (t) => {
    // [MQTT-3.1.3-10]
    const topic = unique("will-properties");
    const watcher = await connect(t);
    await watcher.subscribe(topic);
    const userProperties = { b: "1", a: ["3", "2", "3"], B: "", c: "4" };
    await cutOff(await connect(t, { will: { topic, payload: "gone", qos: 1, retain: false, properties: { userProperties } } }));
    const { packet } = await watcher.next(topic);
    assert.deepEqual(Object.entries(packet.properties.userProperties), Object.entries(userProperties));
  });

  for (const { ends, sessionExpiryInterval, end } of [
    { ends: "ends with its connection", sessionExpiryInterval: 0, end: (client) => cutOffRaw(client) },
    { ends: "expires", sessionExpiryInterval: 1, end: (client) => cutOffRaw(client) },
    {
      ends: "is discarded by Clean Start",
      sessionExpiryInterval: 600,
      end: async (client, t, clientId) => {
        await cutOffRaw(client);
        await connect(t, { clientId, clean: true });
      },
    },
    {
      ends: "is given up by DISCONNECT",
      sessionExpiryInterval: 600,
      end: (client) => client.send({ cmd: "disconnect", reasonCode: 0x04, properties: { sessionExpiryInterval: 0 } }),
    },
  ]) {
    test(`a will whose delay is longer than its session comes when the session ${ends}`, async (t) => {
      // [MQTT-3.1.2-8]
      const [clientId, topic] = [unique("short"), unique("early-will")];
      const watcher = await connect(t);
      await watcher.subscribe(topic);
      const client = await connectRaw(t, {
        ...durable(5, clientId, sessionExpiryInterval),
        will: { topic, payload: "the session is over", qos: 1, retain: false, properties: { willDelayInterval: DELAY_SECONDS } },
      });
      assert.deepEqual(await leftover(watcher), [], "the session goes on");
      await end(client, t, clientId);
      assert.equal((await watcher.next(topic)).payload.toString(), "the session is over");
      assert.deepEqual(await leftover(watcher), [], "once");
    });
  }
});

suite("Topic Aliases", { concurrency: true }, () => {
  test("a Topic Alias means nothing on the next connection of its session", async (t) => {
    // [MQTT-3.3.2-7], section 3.3.2.3.4
    const PROTOCOL_ERROR = 0x82;
    const [topic, clientId] = [unique("aliased"), unique("aliases")];
    const subscriber = await connect(t);
    await subscriber.subscribe(topic);
    const publish = (named, payload) => ({ cmd: "publish", topic: named, payload, qos: 0, retain: false, dup: false, properties: { topicAlias: 3 } });
    const first = await connectRaw(t, durable(5, clientId));
    first.send(publish(topic, "defines it"));
    first.send(publish("", "uses it"));
    for (const payload of ["defines it", "uses it"]) assert.equal((await subscriber.next(topic)).payload.toString(), payload);
    await cutOffRaw(first);

    const second = await connectRaw(t, durable(5, clientId));
    assert.equal(second.connack.sessionPresent, true);
    second.send(publish("", "means nothing"));
    assert.equal((await second.next("disconnect")).reasonCode, PROTOCOL_ERROR);
    await within(second.closed, "the end of the connection");
    assert.deepEqual(await leftover(subscriber), []);
  });
});

suite("Shared subscriptions with MQTT 5.0 only", { concurrency: true }, () => {
  const publish = (publisher, topic, payload, qos) => publisher.publish(topic, payload, { qos });

  /** A member of the group that answers by hand, after its SUBACK. */
  async function member(t, topic, qos, options) {
    const raw = await connectRaw(t, options);
    raw.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: `$share/group/${topic}`, qos }] });
    await raw.next("suback");
    return raw;
  }

  test("of two copies for one client, each has the Subscription Identifier of its own subscription", async (t) => {
    // [MQTT-3.3.4-5]
    const topic = unique("copies");
    const [publisher, subscriber] = await connectMany(t, 2);
    await subscriber.subscribe(`$share/group/${topic}`, { qos: 1, properties: { subscriptionIdentifier: 11 } });
    await subscriber.subscribe(topic, { qos: 1, properties: { subscriptionIdentifier: 22 } });
    await subscriber.subscribe(`${topic}/#`, { qos: 1, properties: { subscriptionIdentifier: 33 } });
    await publish(publisher, topic, "twice", 1);
    assert.deepEqual(await leftover(subscriber), [[topic, "twice"], [topic, "twice"]]);
    const identifiers = subscriber.inbox.map(({ packet }) => [packet.properties.subscriptionIdentifier].flat().sort());
    assert.deepEqual(identifiers.sort(), [[11], [22, 33]]);
  });

  test("each member of a group gets messages with the QoS granted to it", async (t) => {
    // [MQTT-4.8.2-3]
    const topic = unique("granted");
    const members = await connectMany(t, 3);
    for (const [granted, client] of members.entries()) await client.subscribe(`$share/group/${topic}`, { qos: granted });
    // A member on the publisher's own Broker is preferred, and those there take turns: so publishers are everywhere, and
    // each has more messages of a kind than there are members.
    const publishers = await connectMany(t, ON_ALL_BROKERS);
    const COPIES = 6;
    for (const publisher of publishers) {
      for (const qos of [2, 1, 0]) {
        await Promise.all(Array.from({ length: COPIES }, () => publish(publisher, topic, String(qos), qos)));
      }
    }
    for (const [granted, client] of members.entries()) {
      await leftover(client);
      for (const qos of [2, 1, 0]) {
        const came = client.inbox.filter(({ payload }) => payload.toString() === String(qos));
        assert.ok(came.length > 0, `the member with QoS ${granted} has a share of QoS ${qos}`);
        assert.ok(came.every(({ packet }) => packet.qos === Math.min(qos, granted)), `QoS ${qos} for the member with QoS ${granted}`);
      }
    }
    assert.equal(members.reduce((sum, client) => sum + client.inbox.length, 0), publishers.length * 3 * COPIES);
  });

  for (const { reached, answer } of [
    { reached: "before its PUBREC", answer: () => {} },
    {
      reached: "after its PUBREC",
      answer: async (raw, messageId) => {
        raw.send({ cmd: "pubrec", messageId });
        await raw.next("pubrel");
      },
    },
  ]) {
    test(`a member that is cut off ${reached} gets the rest of its QoS 2 message when it is back, and nobody else does`, async (t) => {
      // [MQTT-4.8.2-4]
      const [topic, clientId] = [unique("chosen"), unique("member")];
      const [publisher, other] = await connectMany(t, 2);
      const first = await member(t, topic, 2, durable(5, clientId));
      await publish(publisher, topic, "for the one", 2);
      const { messageId } = await first.next("publish");
      await other.subscribe(`$share/group/${topic}`, { qos: 2 });
      await answer(first, messageId);
      await cutOffRaw(first);
      assert.deepEqual(await leftover(other), [], "while it is away");

      const second = await connectRaw(t, durable(5, clientId));
      assert.equal(second.connack.sessionPresent, true);
      if (reached.startsWith("before")) {
        const again = await second.next("publish");
        assert.deepEqual([again.messageId, again.dup, again.payload.toString()], [messageId, true, "for the one"]);
        second.send({ cmd: "pubrec", messageId });
      }
      assert.equal((await second.next("pubrel")).messageId, messageId);
      second.send({ cmd: "pubcomp", messageId });
      assert.deepEqual(await leftover(other), []);
      assert.deepEqual(second.inbox.filter(({ cmd }) => cmd === "publish"), []);
    });
  }

  for (const { how, expiry, end } of [
    { how: "expires", expiry: 1, end: () => sleep(3_000) },
    { how: "is discarded", expiry: 600, end: async (t, clientId) => (await connect(t, { clientId, clean: true })).end() },
  ]) {
    test(`a QoS 2 message that a member was sent goes to nobody else when its session ${how}`, async (t) => {
      // [MQTT-4.8.2-5]
      const [topic, clientId] = [unique("ended"), unique("member")];
      const [publisher, other] = await connectMany(t, 2);
      const first = await member(t, topic, 2, durable(5, clientId, expiry));
      await publish(publisher, topic, "for the one", 2);
      await first.next("publish");
      await other.subscribe(`$share/group/${topic}`, { qos: 2 });
      await cutOffRaw(first);
      await end(t, clientId);
      assert.deepEqual(await leftover(other), []);
      await publish(publisher, topic, "the group goes on", 2);
      assert.equal((await other.next(topic)).payload.toString(), "the group goes on");
    });
  }

  for (const { qos, answered, acknowledgement } of [
    { qos: 1, answered: "PUBACK", acknowledgement: "puback" },
    { qos: 2, answered: "PUBREC", acknowledgement: "pubrec" },
  ]) {
    test(`a message that a member refuses by ${answered} goes to nobody else, nor to it again`, async (t) => {
      // [MQTT-4.8.2-6], [MQTT-4.4.0-2]
      const [topic, clientId] = [unique("refused"), unique("member")];
      const [publisher, other] = await connectMany(t, 2);
      const first = await member(t, topic, qos, durable(5, clientId));
      await publish(publisher, topic, "refused", qos);
      const { messageId } = await first.next("publish");
      await other.subscribe(`$share/group/${topic}`, { qos });
      first.send({ cmd: acknowledgement, messageId, reasonCode: 0x97 });
      assert.deepEqual(await leftover(other), []);
      await cutOffRaw(first);
      const second = await connectRaw(t, durable(5, clientId));
      assert.equal(second.connack.sessionPresent, true);
      assert.deepEqual(await leftover(other), []);
      assert.deepEqual(second.inbox, []);
      // The group goes on, with the identifier free again.
      second.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: [`$share/group/${topic}`] });
      await second.next("unsuback");
      await publish(publisher, topic, "taken", qos);
      assert.equal((await other.next(topic)).payload.toString(), "taken");
    });
  }
});

// Sessions that outlive their connection: nothing that was acknowledged is lost, whatever vanishes.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { VERSIONS, connect, open } from "./support/mqtt.mjs";
import { BROKERS_SLEEP, brokersAtRest, evictBrokers, evictRouters, evictSessions, kill, restart, unique, within } from "./support/platform.mjs";

/** Publishes of a client on their way: half of its Receive Maximum, beyond which it would be thrown out. */
const UNACKNOWLEDGED = 50;

/** Options of a session that lasts. */
const durable = (protocolVersion, clientId) => ({
  protocolVersion,
  clientId,
  clean: false,
  ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 3_600 } } : {}),
});

async function cutOff(client) {
  client.mqtt.stream.destroy();
  await within(client.closed, "the end of the connection");
}

const numbers = (client, topic) => client.texts(topic).map(Number);

for (const { version, protocolVersion } of VERSIONS) {
  suite(`Sessions that last, with MQTT ${version}`, () => {
    test("a client that comes back finds its session and what was published meanwhile, in order", async (t) => {
      const [clientId, topic] = [unique("back"), unique("missed")];
      const publisher = await connect(t, { protocolVersion });
      const first = await connect(t, durable(protocolVersion, clientId));
      assert.equal(first.connack.sessionPresent, false);
      await first.subscribe(topic, { qos: 2 });
      await cutOff(first);
      for (let number = 0; number < 250; number += 1) await publisher.publish(topic, String(number), { qos: 1 + (number % 2) });
      const second = open(t, durable(protocolVersion, clientId));
      assert.equal((await second.connected()).sessionPresent, true);
      await second.until(() => numbers(second, topic).length >= 250, "all of them");
      assert.deepEqual(numbers(second, topic).filter((n) => n % 2 === 0), Array.from({ length: 125 }, (_, i) => i * 2));
      assert.deepEqual(numbers(second, topic).filter((n) => n % 2 === 1), Array.from({ length: 125 }, (_, i) => i * 2 + 1));
    });

    test("QoS 0 is not kept for a client that is away", async (t) => {
      const [clientId, topic] = [unique("back"), unique("unkept")];
      const publisher = await connect(t, { protocolVersion });
      const first = await connect(t, durable(protocolVersion, clientId));
      await first.subscribe(topic, { qos: 1 });
      await cutOff(first);
      await publisher.publish(topic, "away", { qos: 0 });
      await publisher.publish(topic, "kept", { qos: 1 });
      const second = await connect(t, durable(protocolVersion, clientId));
      assert.equal((await second.next(topic)).payload.toString(), "kept");
      assert.deepEqual(second.inbox, []);
    });

    test("Clean Start forgets the session", async (t) => {
      const [clientId, topic] = [unique("clean"), unique("forgotten")];
      const publisher = await connect(t, { protocolVersion });
      const first = await connect(t, durable(protocolVersion, clientId));
      await first.subscribe(topic);
      await cutOff(first);
      await publisher.publish(topic, "for nobody");
      const second = await connect(t, { ...durable(protocolVersion, clientId), clean: true });
      assert.equal(second.connack.sessionPresent, false);
      await second.end();
      const third = await connect(t, durable(protocolVersion, clientId));
      if (protocolVersion === 4) assert.equal(third.connack.sessionPresent, false);
      await publisher.publish(topic, "for nobody either");
      await third.subscribe(unique("other"));
      assert.deepEqual(third.inbox, []);
    });

    for (const [what, vanish, options] of [
      ["its Broker sleeps and wakes", async () => { await brokersAtRest(); await evictBrokers(); }, BROKERS_SLEEP],
      ["its Sessions shard loses its memory", evictSessions],
      ["its Routers lose their memory", evictRouters],
    ]) {
      test(`a connected session goes on when ${what}`, { ...options }, async (t) => {
        await restart();
        const topic = unique("goes-on");
        const subscriber = await connect(t, durable(protocolVersion, unique("stays")));
        const publisher = await connect(t, { protocolVersion });
        await subscriber.subscribe(topic, { qos: 2 });
        await publisher.publish(topic, "before", { qos: 2 });
        await subscriber.next(topic);
        await vanish();
        for (const qos of [1, 2]) {
          await publisher.publish(topic, `after, ${qos}`, { qos });
          assert.equal((await subscriber.next(topic)).payload.toString(), `after, ${qos}`);
        }
        assert.equal(subscriber.mqtt.connected, true);
      });
    }

    test("a session survives the end of the platform with its subscriptions and its queue", async (t) => {
      const [clientId, topic] = [unique("survivor"), unique("survives")];
      const first = await connect(t, durable(protocolVersion, clientId));
      await first.subscribe(topic, { qos: 2 });
      await cutOff(first);
      const publisher = await connect(t, { protocolVersion });
      for (const qos of [1, 2]) await publisher.publish(topic, `kept, ${qos}`, { qos });
      await kill();
      const second = await connect(t, durable(protocolVersion, clientId));
      assert.equal(second.connack.sessionPresent, true);
      for (const qos of [1, 2]) assert.equal((await second.next(topic)).payload.toString(), `kept, ${qos}`);
      const again = await connect(t, { protocolVersion });
      await again.publish(topic, "still subscribed", { qos: 2 });
      assert.equal((await second.next(topic)).payload.toString(), "still subscribed");
    });

    test("of messages that were stored together, those that were acknowledged don't come again, and the others do, after the end of the platform", async (t) => {
      const [clientId, topic, count, acknowledged] = [unique("partly"), unique("together"), UNACKNOWLEDGED, 20];
      const publisher = await connect(t, { protocolVersion });
      const first = await connect(t, durable(protocolVersion, clientId));
      await first.subscribe(topic, { qos: 1 });
      await cutOff(first);
      const all = Array.from({ length: count }, (_, number) => number);
      await Promise.all(all.map((number) => publisher.mqtt.publishAsync(topic, String(number), { qos: 1 })));
      const second = open(t, durable(protocolVersion, clientId));
      let handled = 0;
      // MQTT.js acknowledges, and takes the next packet, when it is called back
      second.mqtt.handleMessage = (packet, done) => {
        handled += 1;
        if (handled <= acknowledged) done();
      };
      await second.connected();
      await second.until(() => numbers(second, topic).length > acknowledged, "one more than is acknowledged");
      // by then its rows tell what was sent
      await sleep(600);
      await kill();
      await cutOff(second);
      const third = open(t, durable(protocolVersion, clientId));
      await third.connected();
      await third.until(() => numbers(third, topic).length >= count - acknowledged, "the others");
      assert.deepEqual(numbers(third, topic), all.slice(acknowledged));
      assert.ok(third.inbox.every(({ packet }) => packet.dup), "they had been sent before");
    });

    for (const qos of [1, 2]) {
      test(`of QoS ${qos} traffic that is killed in the middle, all that was acknowledged comes${qos === 2 ? ", once" : ""}`, async (t) => {
        const [subscriberId, publisherId, topic] = [unique("sub"), unique("pub"), unique("killed")];
        // MQTT.js keeps what it has not finished in its stores and sends it again when it is back.
        const options = (clientId) => ({ ...durable(protocolVersion, clientId), reconnectPeriod: 200, resubscribe: false });
        const subscriber = await connect(t, options(subscriberId));
        await subscriber.subscribe(topic, { qos });
        const publisher = await connect(t, options(publisherId));
        const [acknowledged, publishing] = [new Set(), new Set()];
        let [number, isOver] = [0, false];
        t.after(() => (isOver = true));
        const traffic = (async () => {
          for (; !isOver; await sleep(10)) {
            if (publishing.size >= UNACKNOWLEDGED) continue;
            const mine = number;
            number += 1;
            const published = publisher.mqtt.publishAsync(topic, String(mine), { qos }).then(() => acknowledged.add(mine), () => {});
            publishing.add(published);
            published.then(() => publishing.delete(published));
          }
        })();
        const until = async (count) => {
          while (acknowledged.size < count && !isOver) await sleep(10);
        };
        for (const count of [15, 75]) {
          await within(until(count), `${count} acknowledgements`, 60_000);
          await kill();
        }
        await within(until(150), "acknowledgements after the last kill", 60_000);
        isOver = true;
        await traffic;
        await within(Promise.all(publishing), "every acknowledgement", 60_000);
        const have = () => new Set(numbers(subscriber, topic));
        await subscriber.until(() => { const got = have(); return [...acknowledged].every((n) => got.has(n)); }, "all that was acknowledged");
        if (qos === 2) assert.equal(numbers(subscriber, topic).length, have().size, "nothing came twice");
      });
    }
  });
}

suite("Sessions that last, with MQTT 5.0 only", () => {
  test("a session ends with its Session Expiry Interval", async (t) => {
    const [clientId, topic] = [unique("expires"), unique("expired")];
    const first = await connect(t, { clientId, clean: false, properties: { sessionExpiryInterval: 1 } });
    await first.subscribe(topic);
    await cutOff(first);
    await sleep(3_000);
    const second = await connect(t, { clientId, clean: false, properties: { sessionExpiryInterval: 1 } });
    assert.equal(second.connack.sessionPresent, false);
  });

  test("DISCONNECT can end a session that would have lasted", async (t) => {
    const clientId = unique("ended");
    const options = { clientId, clean: false, properties: { sessionExpiryInterval: 600 } };
    const first = await connect(t, options);
    await first.mqtt.endAsync(false, { properties: { sessionExpiryInterval: 0 } });
    assert.equal((await connect(t, options)).connack.sessionPresent, false);
  });

  test("a message that expires while the client is away doesn't come", async (t) => {
    const [clientId, topic] = [unique("away"), unique("stale")];
    const options = { clientId, clean: false, properties: { sessionExpiryInterval: 600 } };
    const publisher = await connect(t);
    const first = await connect(t, options);
    await first.subscribe(topic);
    await cutOff(first);
    await publisher.publish(topic, "stale", { qos: 1, properties: { messageExpiryInterval: 1 } });
    await publisher.publish(topic, "fresh", { qos: 1, properties: { messageExpiryInterval: 600 } });
    await sleep(1_500);
    const second = await connect(t, options);
    const { payload, packet } = await second.next(topic);
    assert.equal(payload.toString(), "fresh");
    assert.ok(packet.properties.messageExpiryInterval < 600);
    assert.deepEqual(second.inbox, []);
  });
});

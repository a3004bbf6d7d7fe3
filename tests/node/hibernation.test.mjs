// Every object can vanish at any time. Put to sleep, nobody notices; ended, what was acknowledged is still there.
//
// These tests take the platform away from under everybody: no other file may run at the same time.

import assert from "node:assert/strict";
import { once } from "node:events";
import { beforeEach, suite, test } from "node:test";
import { CreatePolicyVersionCommand, CreateThingCommand, DescribeThingCommand } from "@aws-sdk/client-iot";
import { GetThingShadowCommand, UpdateThingShadowCommand } from "@aws-sdk/client-iot-data-plane";
import { OWN_TOPICS, device, document, verified } from "./support/device.mjs";
import { ON_ALL_BROKERS, VERSIONS, connect, connectEach, connectMany } from "./support/mqtt.mjs";
import {
  BROKERS_SLEEP,
  brokersAtRest,
  decode,
  encode,
  evictBrokers,
  evictRouters,
  evictSessions,
  evictThing,
  iot,
  iotData,
  kill,
  restart,
  unique,
  within,
} from "./support/platform.mjs";

/**
 * Objects that workerd lets sleep. What upgrades at once do to an object (support/mqtt.mjs) outlives the test that did
 * them, and has been seen, rarely, where clients of the test before were still leaving.
 */
const startFresh = restart;

/** As the platform does it: when the objects are at rest. */
async function fallAsleep() {
  await brokersAtRest();
  await evictBrokers();
}

/** Publishes of a client on their way: half of its Receive Maximum, beyond which it would be thrown out. */
const UNACKNOWLEDGED = 50;

function noteClosed(clients) {
  const closed = [];
  for (const client of clients) client.closed.then(() => closed.push(client.id));
  return closed;
}

/** Everybody publishes and everybody hears everybody, once. */
async function assertAllHearAll(clients, topic) {
  const round = unique("round");
  const heard = (client) => client.texts(topic).filter((text) => text === round).length;
  await Promise.all(clients.map((client) => client.publish(topic, round)));
  for (const client of clients) {
    await client.until(() => heard(client) >= clients.length, "everybody's message");
    assert.equal(heard(client), clients.length);
  }
}

const reported = async (thingName) => decode((await iotData.send(new GetThingShadowCommand({ thingName }))).payload);

for (const { version, protocolVersion } of VERSIONS) {
  suite(`Asleep, with MQTT ${version}`, BROKERS_SLEEP, () => {
    beforeEach(startFresh);

    test("clients of Brokers that slept stay connected, and subscriptions made before are in force", async (t) => {
      const topic = unique("asleep");
      const clients = await connectMany(t, ON_ALL_BROKERS, { protocolVersion });
      const closed = noteClosed(clients);
      await Promise.all(clients.map((client) => client.subscribe(topic)));
      for (let sleeps = 0; sleeps < 2; sleeps += 1) {
        await fallAsleep();
        await assertAllHearAll(clients, topic);
      }
      assert.deepEqual(closed, []);
    });

    test("a Broker that slept knows what was subscribed, with its options, and takes UNSUBSCRIBE", async (t) => {
      const [kept, gone, low, late] = ["kept", "gone", "low", "late"].map(unique);
      const [publisher, ...clients] = await connectMany(t, 9, { protocolVersion });
      const closed = noteClosed([publisher, ...clients]);
      for (const client of clients) {
        await client.subscribe([kept, gone]);
        await client.subscribe(low, { qos: 0 });
      }
      await fallAsleep();
      await Promise.all(clients.map((client) => client.unsubscribe(gone)));
      await Promise.all(clients.map((client) => client.subscribe(late)));
      for (const topic of [gone, low, late, kept]) await publisher.publish(topic, "awake");
      for (const client of clients) {
        await client.next(kept);
        assert.equal((await client.next(low)).packet.qos, 0);
        assert.equal((await client.next(late)).packet.qos, 1);
        assert.deepEqual(client.inbox, []);
      }
      assert.deepEqual(closed, []);
    });

    test("a device may do what it could before its Broker slept, and no more", async (t) => {
      const { fingerprint, policyName } = await device(t, OWN_TOPICS);
      const client = await connect(t, { protocolVersion, ...verified(fingerprint) });
      await client.subscribe(`${client.id}/#`);
      await fallAsleep();
      await client.publish(`${client.id}/state`, "awake");
      await client.next(`${client.id}/state`);
      await fallAsleep();
      const nothing = document([["Deny", "*", "*"]]);
      await iot.send(new CreatePolicyVersionCommand({ policyName, policyDocument: nothing, setAsDefault: true }));
      await within(client.closed, "the end of the connection, although its Broker slept");
    });

    test("a takeover finds the connection of a Broker that slept", async (t) => {
      const clientIds = Array.from({ length: 6 }, () => unique("sleeper"));
      const old = await connectEach(t, clientIds, { protocolVersion });
      await fallAsleep();
      await evictSessions();
      const disconnects = old.map((client) => (protocolVersion === 5 ? once(client.mqtt, "disconnect") : [{ reasonCode: 0x8e }]));
      const next = await connectEach(t, clientIds, { protocolVersion });
      for (const [index, client] of old.entries()) {
        await within(client.closed, "the end of the old connection");
        assert.equal((await disconnects[index])[0].reasonCode, 0x8e);
      }
      const topic = unique("heirs");
      await Promise.all(next.map((client) => client.subscribe(topic)));
      await assertAllHearAll(next, topic);
    });

    test("a will outlives the sleep of its Broker", async (t) => {
      const topic = unique("will");
      const subscriber = await connect(t, { protocolVersion });
      await subscriber.subscribe(topic);
      const mortal = await connect(t, { protocolVersion, will: { topic, payload: Buffer.from("gone"), qos: 1, retain: false } });
      await fallAsleep();
      mortal.mqtt.stream.destroy();
      assert.equal((await subscriber.next(topic)).payload.toString(), "gone");
    });
  });
}

suite("Asleep", () => {
  beforeEach(startFresh);

  test("a session too large for its WebSocket's attachment survives sleep", BROKERS_SLEEP, async (t) => {
    const root = `${unique("large")}/${"a-long-level-of-a-topic".repeat(2)}`;
    const filters = Array.from({ length: 600 }, (_, index) => `${root}/${index}`);
    const [subscriber, publisher] = await connectMany(t, 2);
    const closed = noteClosed([subscriber, publisher]);
    for (let from = 0; from < filters.length; from += 200) await subscriber.subscribe(filters.slice(from, from + 200));
    for (let sleeps = 0; sleeps < 2; sleeps += 1) {
      await fallAsleep();
      const some = filters.filter((_, index) => index % 60 === sleeps);
      await Promise.all(some.map((topic) => publisher.publish(topic, "large")));
      for (const topic of some) await subscriber.next(topic);
    }
    await subscriber.unsubscribe(filters.slice(0, 200));
    await fallAsleep();
    await publisher.publish(filters[0], "unsubscribed");
    await publisher.publish(filters[599], "last");
    await subscriber.next(filters[599]);
    assert.deepEqual([subscriber.inbox, closed], [[], []]);
  });

  test("routes outlive the memory of Routers", async (t) => {
    const topic = unique("routes");
    const clients = await connectMany(t, ON_ALL_BROKERS);
    await Promise.all(clients.map((client) => client.subscribe(topic)));
    await evictRouters();
    await assertAllHearAll(clients, topic);
    const [first, ...others] = clients;
    await Promise.all(others.map((client) => client.unsubscribe(topic)));
    await evictRouters();
    await others[0].publish(topic, "to one");
    await first.until(() => first.texts(topic).includes("to one"), "the message");
    assert.ok(others.every((client) => !client.texts(topic).includes("to one")));
  });

  test("a shadow outlives the memory of its Thing, and its version goes on", async () => {
    const thingName = unique("thing");
    for (let version = 1; version <= 5; version += 1) {
      const payload = encode({ state: { reported: { [`key${version}`]: version } }, version: version - 1 || undefined });
      await iotData.send(new UpdateThingShadowCommand({ thingName, payload }));
      await evictThing(thingName);
    }
    const { state, version } = await reported(thingName);
    assert.deepEqual([Object.keys(state.reported).length, version], [5, 5]);
  });

  test("publishes while objects are evicted again and again are delivered or the publisher learns of it", async (t) => {
    const topic = unique("storm");
    const [publisher, subscriber] = await connectMany(t, 2);
    await subscriber.subscribe(topic);
    let over = false;
    const storm = (async () => {
      while (!over) await Promise.all([evictRouters(), evictSessions()]);
    })();
    const numbers = Array.from({ length: 100 }, (_, index) => String(index));
    for (const number of numbers) await publisher.publish(topic, number);
    over = true;
    await storm;
    await subscriber.until(() => subscriber.texts(topic).includes("99"), "the last message");
    assert.deepEqual([...new Set(subscriber.texts(topic))], numbers);
  });
});

suite("Ended and started again", () => {
  test("clients connect again by themselves, and routes of before disturb nobody", async (t) => {
    const [kept, lost] = [unique("kept"), unique("lost")];
    const clients = await connectMany(t, ON_ALL_BROKERS, { reconnectPeriod: 100, resubscribe: false });
    await Promise.all(clients.map((client) => client.subscribe([kept, lost])));
    // `once` would give up at the first try that finds the port closed
    const again = clients.map((client) => new Promise((resolve) => client.mqtt.once("connect", resolve)));
    await restart();
    await within(Promise.all(again), "all clients' second connection");
    // nobody wants it now: it is acknowledged and goes nowhere
    await Promise.all(clients.map((client) => client.publish(lost, "for those before")));
    await Promise.all(clients.map((client) => client.subscribe(kept)));
    await assertAllHearAll(clients, kept);
    assert.ok(clients.every((client) => client.texts(lost).length === 0));
  });

  test("things and shadows are there after a restart", async () => {
    const thingName = unique("thing");
    const { thingId } = await iot.send(new CreateThingCommand({ thingName }));
    await iotData.send(new UpdateThingShadowCommand({ thingName, payload: encode({ state: { reported: { a: 1 } } }) }));
    await restart();
    assert.equal((await iot.send(new DescribeThingCommand({ thingName }))).thingId, thingId);
    const { state, version } = await reported(thingName);
    assert.deepEqual([state.reported, version], [{ a: 1 }, 1]);
  });

  test("every shadow update that was accepted is there after the platform was killed", async (t) => {
    const [byHttps, byMqtt] = [unique("thing"), unique("thing")];
    const accepted = { [byHttps]: [], [byMqtt]: [] };
    const device = await connect(t);
    const shadow = `$aws/things/${byMqtt}/shadow/update`;
    await device.subscribe(`${shadow}/accepted`);
    device.mqtt.on("message", (_, payload) => {
      const { state, version } = decode(payload);
      accepted[byMqtt].push({ ...state.reported, version });
    });

    let [isKilled, unacknowledged] = [false, 0];
    let enough;
    const isEnough = new Promise((resolve) => {
      enough = resolve;
    });
    const writer = async (name) => {
      for (let number = 0; !isKilled; number += 1) {
        const state = { reported: { [`${name}-${number}`]: number } };
        const sent = iotData.send(new UpdateThingShadowCommand({ thingName: byHttps, payload: encode({ state }) }));
        if (unacknowledged < UNACKNOWLEDGED) {
          unacknowledged += 1;
          device.mqtt.publish(shadow, JSON.stringify({ state }), { qos: 1 }, () => (unacknowledged -= 1));
        }
        try {
          accepted[byHttps].push({ ...state.reported, version: decode((await sent).payload).version });
        } catch {
          return;
        }
        if (accepted[byHttps].length >= 60 && accepted[byMqtt].length >= 30) enough();
      }
    };
    const writers = Promise.all(["a", "b", "c", "d"].map(writer));
    await within(isEnough, "enough accepted updates");
    await kill();
    isKilled = true;
    await writers;

    for (const [thingName, updates] of Object.entries(accepted)) {
      const shadow = await reported(thingName);
      for (const { version, ...keys } of updates) {
        const [[key, value]] = Object.entries(keys);
        assert.equal(shadow.state.reported[key], value, `${thingName}: ${key}, accepted as version ${version}`);
        assert.ok(shadow.version >= version);
      }
      assert.equal(new Set(updates.map(({ version }) => version)).size, updates.length);
      // what was stored without being acknowledged is there as a whole, too
      assert.equal(Object.keys(shadow.state.reported).length, shadow.version);
    }
  });
});

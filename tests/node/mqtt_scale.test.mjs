// Many subscribers, many filters, one that doesn't read and one that doesn't stop: nobody else notices.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { disperse, gather } from "./support/crowd.mjs";
import { residentBytesOfPlatform } from "./support/memory.mjs";
import { ON_ALL_BROKERS, VERSIONS, connect, connectMany } from "./support/mqtt.mjs";
import { BROKERS_SLEEP, PATIENCE_MILLIS, brokersAtRest, evictBrokers, evictRouters, kill, restart, unique, within } from "./support/platform.mjs";
import { connectRaw } from "./support/raw.mjs";

const MIB = 1_024 * 1_024;
const THOUSAND = 1_000;

/** How long a message may take while others make trouble: patience for a slow machine. What it took is reported. */
const PROMPTLY_MILLIS = PATIENCE_MILLIS;

/** How long a SUBACK may take when nobody remembers anything. Leases of Brokers that are gone end after 3 s, of those that can't be asked after 65 s. */
const SUBACK_MILLIS = PATIENCE_MILLIS;

/** docs/settings.md, "Limits" */
const FILTERS_IN_ONE_SUBSCRIBE = 256;
const SUBSCRIPTIONS_OF_A_SESSION = 1_024;

const since = (begun) => performance.now() - begun;
const millis = (duration) => `${duration.toFixed(0)} ms`;

function summary(durations) {
  const sorted = durations.toSorted((a, b) => a - b);
  return `median ${millis(sorted[sorted.length >> 1])}, longest ${millis(sorted.at(-1))}`;
}

/** Watches the platform's memory until the answer is called, which says by how many MiB it grew; only where that can be known. */
function watchMemory(t) {
  const resident = residentBytesOfPlatform();
  if (!resident) return undefined;
  const before = resident();
  let most = before;
  const look = () => (most = Math.max(most, resident()));
  const timer = setInterval(look, 50);
  t.after(() => clearInterval(timer));
  return () => {
    look();
    clearInterval(timer);
    return (most - before) / MIB;
  };
}

/** Done when `condition` holds. */
async function eventually(condition, what) {
  const deadline = Date.now() + PATIENCE_MILLIS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${PATIENCE_MILLIS} ms`);
    await sleep(20);
  }
}

/** `parallel` of these at any time, which is less than the Receive Maximum of 100. */
async function forEach(items, parallel, work) {
  const rest = items.values();
  const worker = async () => {
    for (const item of rest) await work(item);
  };
  await Promise.all(Array.from({ length: parallel }, worker));
}

suite("A thousand subscribers to one topic", () => {
  const MESSAGES = 10;
  let crowd = [];

  before(async () => {
    crowd = await gather(THOUSAND);
  });
  after(() => disperse(crowd));

  for (const qos of [0, 1]) {
    test(`each of a thousand subscribers gets each QoS ${qos} message once`, async (t) => {
      const topic = unique("crowd");
      const [publisher] = await connectMany(t, 1);
      const granted = await Promise.all(crowd.map((member) => member.subscribe([{ topic, qos }])));
      assert.ok(granted.every(([code]) => code === qos));
      const begun = performance.now();
      for (let number = 0; number < MESSAGES; number += 1) await publisher.publish(topic, String(number), { qos });
      // its PUBACK, and what comes in its place in the order, show that nothing more is to come
      await publisher.publish(topic, "the end", { qos: 1 });
      await eventually(() => crowd.every(({ heard }) => heard.has(`${topic} the end`)), "the last message, everywhere");
      t.diagnostic(`${MESSAGES + 1} messages to ${crowd.length} subscribers: ${millis(since(begun))}`);
      const expected = [...Array(MESSAGES).keys(), "the end"].map((payload) => [`${topic} ${payload}`, 1]);
      for (const { heard } of crowd) assert.deepEqual([...heard].filter(([what]) => what.startsWith(topic)), expected);
      assert.ok(crowd.every(({ isClosed }) => !isClosed));
    });
  }

  test("a thousand who leave their topic hear nothing of it", async (t) => {
    const [left, kept] = [unique("left"), unique("kept")];
    const [publisher] = await connectMany(t, 1);
    await Promise.all(crowd.map((member) => member.subscribe([{ topic: left, qos: 1 }, { topic: kept, qos: 1 }])));
    await Promise.all(crowd.map((member) => member.ask({ cmd: "unsubscribe", messageId: 2, unsubscriptions: [left] })));
    await publisher.publish(left, "to nobody");
    await publisher.publish(kept, "to all");
    await eventually(() => crowd.every(({ heard }) => heard.has(`${kept} to all`)), "the message, everywhere");
    assert.ok(crowd.every(({ heard }) => !heard.has(`${left} to nobody`)));
  });
});

for (const { version, protocolVersion } of VERSIONS) {
  suite(`A thousand filters on one client, with MQTT ${version}`, () => {
    /** As many in one packet as are allowed. */
    const inPackets = (filters) =>
      Array.from({ length: Math.ceil(filters.length / FILTERS_IN_ONE_SUBSCRIBE) }, (_, index) =>
        filters.slice(index * FILTERS_IN_ONE_SUBSCRIBE, (index + 1) * FILTERS_IN_ONE_SUBSCRIBE),
      );

    test("each of a thousand topics reaches the client once, and none when it has unsubscribed from all", async (t) => {
      const root = unique("filters");
      const [publisher, subscriber] = await connectMany(t, 2, { protocolVersion });
      const topics = Array.from({ length: THOUSAND }, (_, index) => `${root}/${index % 10}/${index}/value`);
      // one in two with a wildcard, and no two of them match the same topic
      const filters = topics.map((topic, index) => (index % 2 ? topic : topic.replace(/value$/, "+")));
      let begun = performance.now();
      for (const some of inPackets(filters)) {
        const granted = await subscriber.subscribe(some);
        assert.ok(granted.every(({ qos }) => qos === 1));
      }
      t.diagnostic(`${filters.length} filters in ${inPackets(filters).length} SUBSCRIBEs: ${millis(since(begun))}`);
      begun = performance.now();
      await forEach(topics, 50, (topic) => publisher.publish(topic, "once"));
      await subscriber.until(() => subscriber.inbox.length >= topics.length, "a message on each topic");
      t.diagnostic(`${topics.length} messages on a topic each: ${millis(since(begun))}`);
      assert.deepEqual(subscriber.inbox.map(({ topic }) => topic).sort(), topics.toSorted());
      subscriber.inbox.length = 0;

      const last = unique("last");
      for (const some of inPackets(filters)) await subscriber.unsubscribe(some);
      await subscriber.subscribe(last);
      await forEach(topics, 50, (topic) => publisher.publish(topic, "unsubscribed"));
      await publisher.publish(last, "the end");
      await subscriber.next(last);
      assert.deepEqual(subscriber.inbox, []);
    });

    test("a client may have 1 024 subscriptions, and one more is refused alone", async (t) => {
      const root = unique("most");
      const client = await connectRaw(t, { protocolVersion, clientId: unique("many") }, { protocolVersion });
      const filters = Array.from({ length: SUBSCRIPTIONS_OF_A_SESSION }, (_, index) => `${root}/${index}`);
      const subscribe = async (topics) => {
        client.send({ cmd: "subscribe", messageId: 7, subscriptions: topics.map((topic) => ({ topic, qos: 1 })) });
        return (await client.next("suback")).granted;
      };
      for (const some of inPackets(filters)) assert.ok((await subscribe(some)).every((code) => code === 1));
      const refused = protocolVersion === 5 ? 0x97 : 0x80;
      assert.deepEqual(await subscribe([`${root}/one-more`, filters[0]]), [refused, 1]);
      const publisher = await connect(t, { protocolVersion });
      await publisher.publish(`${root}/one-more`, "to nobody");
      await publisher.publish(filters.at(-1), "to the last");
      assert.equal((await client.next("publish")).topic, filters.at(-1));
    });
  });
}

suite("A subscriber that doesn't read", () => {
  const PAYLOAD_BYTES = 64 * 1_024;
  /** 64 MiB. A client may have 16 MiB unheard, and twice as much ends its connection; of QoS 1, 4 MiB are queued. */
  const MESSAGES = 1_024;
  const WARM_UP = 128;
  /** With QoS 0, and as many with QoS 1. */
  const EACH = 6;

  /** Subscribed, and from now on it takes nothing off the wire. */
  async function subscribeAndStop(t, topic, qos) {
    const client = await connectRaw(t, { protocolVersion: 5, clientId: unique("deaf"), keepalive: 0 }, { protocolVersion: 5 });
    client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos }] });
    await client.next("suback");
    client.socket.pause();
    return client;
  }

  const numberIn = (payload) => payload.readUInt32BE(0);
  const numbersOf = (client) => client.inbox.filter(({ cmd }) => cmd === "publish").map(({ payload }) => numberIn(payload));
  const range = (from, count) => Array.from({ length: count }, (_, index) => from + index);

  test("it holds up neither publishers nor those who read, what is kept for it is bounded, and of QoS 0 it is cut off", async (t) => {
    // in a process that has not used much memory yet
    await restart();
    const topic = unique("slow");
    const sent = [];
    let late = [];
    const [publisher, ...readers] = await connectMany(t, 4);
    for (const [index, client] of readers.entries()) {
      await client.subscribe(topic, { qos: index % 2 });
      client.numbers = [];
      client.mqtt.removeAllListeners("message");
      client.mqtt.on("message", (_, payload) => {
        client.numbers.push(numberIn(payload));
        late.push(since(sent[numberIn(payload)]));
        // Of QoS 0, this is all that a client can say to show that it reads.
        if (client.numbers.length % 64 === 0) client.mqtt.sendPing();
      });
    }
    /** Publishes with QoS 1, all but at once, and waits until those who read have everything. */
    const publish = async (count, what) => {
      const acknowledged = [];
      const begun = performance.now();
      late = [];
      await forEach(range(sent.length, count), 16, async (number) => {
        const payload = Buffer.alloc(PAYLOAD_BYTES);
        payload.writeUInt32BE(number);
        sent[number] = performance.now();
        await publisher.publish(topic, payload);
        acknowledged.push(since(sent[number]));
      });
      await eventually(() => readers.every(({ numbers }) => numbers.length === sent.length), "everything, for those who read");
      const mebibytes = (count * PAYLOAD_BYTES) / MIB;
      t.diagnostic(`${what}: ${mebibytes} MiB in ${millis(since(begun))}; PUBACK ${summary(acknowledged)}; delivery ${summary(late)}`);
      assert.ok(Math.max(...acknowledged) < PROMPTLY_MILLIS, "PUBACKs keep coming");
      assert.ok(Math.max(...late) < PROMPTLY_MILLIS, "so do messages");
    };

    await publish(WARM_UP, "when all read");
    const [atMostOnce, atLeastOnce] = [[], []];
    for (let count = 0; count < EACH; count += 1) {
      atMostOnce.push(await subscribeAndStop(t, topic, 0));
      atLeastOnce.push(await subscribeAndStop(t, topic, 1));
    }
    const memory = watchMemory(t);
    await publish(MESSAGES, `when ${2 * EACH} more don't read`);
    const grown = memory?.();
    for (const { numbers } of readers) assert.deepEqual(numbers, range(0, sent.length));
    if (grown !== undefined) {
      const kept = (2 * EACH * MESSAGES * PAYLOAD_BYTES) / MIB;
      t.diagnostic(`the platform's memory grew by ${grown.toFixed(0)} MiB; all that was for those who don't read: ${kept} MiB`);
      // 16 MiB and 4 MiB each, and what was on its way to those who read
      assert.ok(grown < EACH * (16 + 4) + 136, `${grown} MiB`);
    }

    // Now they read what was kept for them.
    for (const client of [...atMostOnce, ...atLeastOnce]) client.socket.resume();
    for (const client of atMostOnce) {
      assert.equal((await client.next("disconnect")).reasonCode, 0x97);
      await within(client.closed, "the end of the connection");
      const bytes = numbersOf(client).length * PAYLOAD_BYTES;
      assert.ok(bytes > 15 * MIB && bytes <= 16 * MIB, `${bytes} bytes came`);
      assert.deepEqual(numbersOf(client), range(WARM_UP, numbersOf(client).length), "what didn't come is the newest");
    }
    // Whatever had been queued for QoS 1 comes, the newest was dropped, and the session goes on.
    const acknowledgeAll = (client) => {
      for (const packet of client.inbox) {
        if (packet.cmd === "publish") client.send({ cmd: "puback", messageId: packet.messageId });
      }
    };
    await eventually(() => atLeastOnce.every((client) => numbersOf(client).length * PAYLOAD_BYTES > 3 * MIB), "the queue");
    for (const client of atLeastOnce) {
      const queued = numbersOf(client);
      assert.ok(queued.length * PAYLOAD_BYTES <= 4 * MIB, `${queued.length} came`);
      assert.deepEqual(queued, range(WARM_UP, queued.length));
      acknowledgeAll(client);
      client.inbox.length = 0;
    }
    await publish(1, "afterwards");
    for (const client of atLeastOnce) assert.equal(numberIn((await client.next("publish")).payload), sent.length - 1);
  });
});

suite("A publisher that doesn't stop", () => {
  const FLOOD_MILLIS = 4_000;
  const PACKETS_IN_A_FRAME = 500;
  /** Bytes that wait in the flooding client itself: more would only fill its own memory. */
  const BUFFERED_BYTES = MIB;

  /** Publishes as fast as the connection takes it until `isOver`, again from the beginning when it is thrown out. */
  async function flood(t, qos, topic, isOver) {
    let [published, connections] = [0, 0];
    while (!isOver()) {
      const client = await connectRaw(t, { protocolVersion: 5, clientId: unique("flood") }, { protocolVersion: 5 });
      connections += 1;
      const publish = (messageId) => client.encode({ cmd: "publish", topic, payload: "x".repeat(64), qos, messageId });
      let isClosed = false;
      client.closed.then(() => (isClosed = true));
      if (qos === 0) {
        const frame = Buffer.concat(Array.from({ length: PACKETS_IN_A_FRAME }, () => publish()));
        while (!isOver() && !isClosed) {
          if (client.socket.bufferedAmount < BUFFERED_BYTES) {
            client.socket.send(frame);
            published += PACKETS_IN_A_FRAME;
          }
          await new Promise(setImmediate);
        }
      } else {
        // the whole Receive Maximum at any time
        const packets = Array.from({ length: 100 }, (_, index) => publish(index + 1));
        client.socket.send(Buffer.concat(packets));
        while (!isOver() && !isClosed) {
          const acknowledged = client.inbox.splice(0).filter(({ cmd }) => cmd === "puback");
          if (acknowledged.length > 0) client.socket.send(Buffer.concat(acknowledged.map(({ messageId }) => packets[messageId - 1])));
          published += acknowledged.length;
          await new Promise(setImmediate);
        }
      }
      client.socket.terminate();
    }
    return `${published} messages over ${connections} connection(s)`;
  }

  for (const qos of [0, 1]) {
    test(`its flood of QoS ${qos} starves nobody on any Broker`, async (t) => {
      const [topic, flooded] = [unique("pairs"), unique("flooded")];
      // one of them is on the flooding client's Broker
      const clients = await connectMany(t, ON_ALL_BROKERS);
      for (const [index, client] of clients.entries()) await client.subscribe(`${topic}/${index}`);
      const [listener] = await connectMany(t, 1);
      await listener.subscribe(flooded, { qos: 0 });
      let heard = 0;
      listener.mqtt.removeAllListeners("message");
      listener.mqtt.on("message", () => {
        heard += 1;
        if (heard % 20_000 === 0) listener.mqtt.sendPing();
      });

      let [isOver, ends] = [false, Infinity];
      const exchange = async (durations, client, index) => {
        const to = (index + 1) % clients.length;
        for (let number = 0; number < 5 || performance.now() < ends; number += 1) {
          const begun = performance.now();
          await client.publish(`${topic}/${to}`, String(number));
          await clients[to].next(`${topic}/${to}`);
          durations.push(since(begun));
          await sleep(20);
        }
        return durations;
      };
      const exchangeAll = async (until) => {
        ends = until;
        const durations = [];
        await Promise.all(clients.map((client, index) => exchange(durations, client, index)));
        return durations;
      };
      const calm = await exchangeAll(performance.now() + 500);
      const flooding = flood(t, qos, flooded, () => isOver);
      await eventually(() => heard > 0, "the flood");
      const stormy = await exchangeAll(performance.now() + FLOOD_MILLIS);
      isOver = true;
      t.diagnostic(`publish and delivery of a pair, calm: ${summary(calm)}; while ${await flooding} came: ${summary(stormy)}; ${heard} were delivered`);
      assert.ok(Math.max(...stormy) < PROMPTLY_MILLIS);
      assert.ok([listener, ...clients].every(({ mqtt }) => mqtt.connected));
    });
  }
});

suite("A SUBSCRIBE when nobody remembers anything", () => {
  /** Everybody subscribes to a topic of its own, to which all the others have published: the leases for it have to be revoked. */
  async function subscribeAll(t, clients, what) {
    const root = unique("woken");
    const durations = await Promise.all(clients.map(async (client, index) => {
      const begun = performance.now();
      await client.subscribe([`${root}/${index}`, `+/${root}/${index}/#`]);
      return since(begun);
    }));
    t.diagnostic(`SUBACK ${what}: ${summary(durations)}`);
    assert.ok(Math.max(...durations) < SUBACK_MILLIS, `${what}: ${summary(durations)}`);
    // it means what it says
    for (const [index, client] of clients.entries()) {
      const publisher = clients[(index + 1) % clients.length];
      await publisher.publish(`${root}/${index}`, "literal");
      await publisher.publish(`x/${root}/${index}/y`, "wildcard");
      await client.next(`${root}/${index}`);
      await client.next(`x/${root}/${index}/y`);
    }
  }

  for (const [who, fallAsleep, options] of [
    ["Routers", [evictRouters]],
    ["Brokers", [evictBrokers], BROKERS_SLEEP],
    ["Brokers and Routers", [evictBrokers, evictRouters], BROKERS_SLEEP],
  ]) {
    test(`SUBACK comes soon after all ${who} slept`, { ...options }, async (t) => {
      // objects that workerd lets sleep (hibernation.test.mjs)
      await restart();
      const clients = await connectMany(t, ON_ALL_BROKERS);
      await subscribeAll(t, clients, "before");
      await brokersAtRest();
      await Promise.all(fallAsleep.map((evict) => evict()));
      await subscribeAll(t, clients, `after all ${who} slept`);
      assert.ok(clients.every(({ mqtt }) => mqtt.connected));
    });
  }

  for (const [what, end] of [["was restarted", restart], ["was killed", kill]]) {
    test(`SUBACK comes soon after the platform ${what}`, async (t) => {
      const before = await connectMany(t, ON_ALL_BROKERS);
      await subscribeAll(t, before, "before");
      await end();
      const clients = await connectMany(t, ON_ALL_BROKERS);
      await subscribeAll(t, clients, `after the platform ${what}`);
    });
  }
});

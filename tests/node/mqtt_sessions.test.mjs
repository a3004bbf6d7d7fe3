// From CONNECT to the end of a connection: who has a client id, for how long, and what is left of it.

import assert from "node:assert/strict";
import { once } from "node:events";
import { suite, test } from "node:test";
import { VERSIONS, connect, connectMany, open } from "./support/mqtt.mjs";
import { unique, within } from "./support/platform.mjs";
import { connectRaw, upgrade } from "./support/raw.mjs";

const SESSION_TAKEN_OVER = 0x8e;
const KEEP_ALIVE_TIMEOUT = 0x8d;
const KEEP_ALIVE_SECONDS = 5;

/** Each connection is on one of three Brokers at random: of so many takeovers, some are across Brokers. */
const TAKEOVERS = 12;

for (const { version, protocolVersion } of VERSIONS) {
  suite(`MQTT ${version}`, { concurrency: true }, () => {
    test("each new connection with a client id ends the one before, and works", async (t) => {
      const clientId = unique("taken");
      const [subscription, publisher] = [unique("takeover"), await connect(t, { protocolVersion })];
      let current = await connect(t, { protocolVersion, clientId });
      for (let number = 0; number < TAKEOVERS; number += 1) {
        const disconnect = protocolVersion === 5 ? once(current.mqtt, "disconnect") : undefined;
        await current.subscribe(subscription);
        const next = await connect(t, { protocolVersion, clientId });
        await within(current.closed, "the end of the old connection");
        if (disconnect) assert.equal((await within(disconnect, "DISCONNECT"))[0].reasonCode, SESSION_TAKEN_OVER);
        assert.equal(next.connack.sessionPresent, false);
        current = next;
      }
      await current.subscribe(subscription);
      await publisher.publish(subscription, "to the last");
      assert.equal((await current.next(subscription)).payload.toString(), "to the last");
    });

    test("of many connections at once with one client id exactly one is left, and it works", async (t) => {
      const clientId = unique("contested");
      const topic = unique("contested");
      const publisher = await connect(t, { protocolVersion });
      const all = Array.from({ length: 16 }, () => open(t, { protocolVersion, clientId }));
      const alive = new Set(all);
      const oneIsLeft = new Promise((resolve) => {
        for (const client of all) client.closed.then(() => alive.delete(client) && alive.size === 1 && resolve());
      });
      await within(oneIsLeft, "the end of all connections but one");
      const [last] = alive;
      if (!last.mqtt.connected) await last.connected();
      await last.subscribe(topic);
      await publisher.publish(topic, "to the winner");
      await last.next(topic);
      assert.equal(alive.size, 1);
    });

    test("a takeover publishes the will of the connection that it ends", async (t) => {
      const [clientId, topic] = [unique("taken"), unique("will")];
      const subscriber = await connect(t, { protocolVersion });
      await subscriber.subscribe(topic);
      await connect(t, { protocolVersion, clientId, will: { topic, payload: "taken over", qos: 1 } });
      await connect(t, { protocolVersion, clientId });
      assert.equal((await subscriber.next(topic)).payload.toString(), "taken over");
    });

    test("clients with different client ids do not disturb each other", async (t) => {
      const prefix = unique("neighbour");
      const clients = await Promise.all(["", "a", "A", "a/b", "+", "ä"].map((suffix) => connect(t, { protocolVersion, clientId: prefix + suffix })));
      for (const client of clients) await client.publish(unique("alive"), "x");
    });

    // A session that outlives its connection without being asked to: MQTT 3.1.1 only (mqtt_durable.test.mjs).
    for (const clean of protocolVersion === 5 ? [true, false] : [true]) {
      test(`nothing is left of a session that ended${clean ? "" : ", though its client would have taken it up again"}`, async (t) => {
        const [clientId, topic, last] = [unique("forgetful"), unique("kept"), unique("last")];
        const publisher = await connect(t, { protocolVersion });
        const first = await connect(t, { protocolVersion, clientId, clean });
        await first.subscribe(topic);
        await first.end();
        await publisher.publish(topic, "while away");
        const second = await connect(t, { protocolVersion, clientId, clean, resubscribe: false });
        assert.equal(second.connack.sessionPresent, false);
        await second.subscribe(last);
        await publisher.publish(topic, "while back");
        await publisher.publish(last, "marker");
        await second.next(last);
        assert.deepEqual(second.inbox, []);
      });
    }

    test("what comes after the end of the connection that wanted it is still acknowledged to the publisher", async (t) => {
      const topic = unique("nobody");
      const [publisher, subscriber] = await connectMany(t, 2, { protocolVersion });
      await subscriber.subscribe(topic);
      subscriber.mqtt.stream.destroy();
      for (let number = 0; number < 20; number += 1) await publisher.publish(topic, String(number));
    });
  });
}

// Together, since it takes them seconds.
suite("Keep-alive", { concurrency: true }, () => {
  for (const { version, protocolVersion } of VERSIONS) {
    suite(`MQTT ${version}`, () => {
      test("a connection without PINGREQ ends after its keep-alive, one with PINGREQ does not", async (t) => {
        const topic = unique("will");
        const will = { topic, payload: Buffer.from("silent"), qos: 0, retain: false };
        const subscriber = await connect(t, { protocolVersion });
        await subscriber.subscribe(topic);
        const options = { protocolVersion, keepalive: KEEP_ALIVE_SECONDS };
        const begun = Date.now();
        const silent = await connectRaw(t, { ...options, clientId: unique("silent"), will });
        const lively = await connectRaw(t, { ...options, clientId: unique("lively") });
        const pinging = setInterval(() => lively.send({ cmd: "pingreq" }), 2_000);
        t.after(() => clearInterval(pinging));
        await within(silent.closed, "the end of the silent connection", 30_000);
        // the clocks of both sides, and timers, are exact to some milliseconds
        assert.ok(Date.now() - begun >= KEEP_ALIVE_SECONDS * 1.5 * 1_000 - 100, "one and a half keep-alives");
        if (protocolVersion === 5) assert.equal((await silent.next("disconnect")).reasonCode, KEEP_ALIVE_TIMEOUT);
        assert.equal((await subscriber.next(topic)).payload.toString(), "silent");
        lively.inbox = [];
        lively.send({ cmd: "pingreq" });
        await lively.next("pingresp");
      });
    });
  }
});

suite("Client identifiers", { concurrency: true }, () => {
  test("an MQTT 5.0 client without a client id is told the one it was given", async (t) => {
    const [one, other] = await Promise.all([1, 2].map(() => connectRaw(t, { protocolVersion: 5, clientId: "" })));
    const ids = [one, other].map((client) => client.connack.properties.assignedClientIdentifier);
    assert.ok(ids.every((id) => id.length > 0));
    assert.notEqual(ids[0], ids[1]);
    // it is a client id like any other
    const successor = await connectRaw(t, { protocolVersion: 5, clientId: ids[0] });
    assert.equal(successor.connack.properties.assignedClientIdentifier, undefined);
    assert.equal((await one.next("disconnect")).reasonCode, SESSION_TAKEN_OVER);
  });

  test("an MQTT 3.1.1 client without a client id needs Clean Session", async (t) => {
    const clean = await connectRaw(t, { protocolVersion: 4, clientId: "", clean: true });
    assert.equal(clean.connack.returnCode, 0);
    const { client: kept } = await upgrade(t);
    // no client library writes this: Connect Flags without Clean Session, and an empty client identifier
    kept.socket.send(Buffer.from("100c00044d51545404000000" + "0000", "hex"));
    assert.equal((await kept.next("connack")).returnCode, 2);
    await within(kept.closed, "the end of the connection");
  });

  test("a WebSocket that its client closes without DISCONNECT is closed from both sides", async (t) => {
    const client = await connectRaw(t, { clientId: unique("closing") });
    client.socket.close(1000);
    // unanswered, `ws` would wait 30 s before it gives the connection up
    await within(client.closed, "the answer to Close", 20_000);
  });

  test("a keep-alive that is too short is replaced, and the client is told so", async (t) => {
    const { connack } = await connectRaw(t, { protocolVersion: 5, clientId: unique("hasty"), keepalive: 1 });
    assert.equal(connack.properties.serverKeepAlive, KEEP_ALIVE_SECONDS);
  });

  test("a session is kept for as long as was asked, and CONNACK need not say so", async (t) => {
    const properties = { sessionExpiryInterval: 3_600 };
    const { connack } = await connectRaw(t, { protocolVersion: 5, clientId: unique("lasting"), properties });
    assert.ok([undefined, 3_600].includes(connack.properties.sessionExpiryInterval));
  });
});

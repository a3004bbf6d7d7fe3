// A panic costs the request in which it happens, and nobody else anything. A trap costs every object its memory.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CreateThingCommand, DescribeThingCommand } from "@aws-sdk/client-iot";
import { GetThingShadowCommand, UpdateThingShadowCommand } from "@aws-sdk/client-iot-data-plane";
import { ON_ALL_BROKERS, connectMany } from "./support/mqtt.mjs";
import { brokersAtRest, contract, decode, encode, iot, iotData, socketMode, unique, within } from "./support/platform.mjs";
import { connectRaw } from "./support/raw.mjs";

const REQUESTS = 50;
const PANICS = 10;
/** A trap happens while its request is handled, whose answer doesn't come. */
const TRAP_MILLIS = 500;

async function assertPanics(path) {
  const response = await fetch(contract.endpoint + path);
  assert.equal(response.status, 500);
  assert.equal(response.headers.get("x-amzn-errortype"), "InternalFailureException");
  // what went wrong is for the log, not for the client
  assert.doesNotMatch(await response.text(), /panic|forced|\.rs/);
}

/** Every Broker has some of them, and everybody hears everybody. */
async function assertAllConnected(clients, topic) {
  const round = unique("round");
  await Promise.all(clients.map((client) => client.publish(topic, round)));
  for (const client of clients) {
    await client.until(() => client.texts(topic).filter((text) => text === round).length >= clients.length, "everybody's message");
    assert.equal(client.texts(topic).filter((text) => text === round).length, clients.length);
  }
}

for (const path of ["/__test/panic", "/__test/panic-in-broker"]) {
  suite(`GET ${path}`, () => {
    test("it answers 500, and what is under way at the same time is done", async () => {
      const thingName = unique("thing");
      await iot.send(new CreateThingCommand({ thingName }));
      const update = (index) => {
        const payload = encode({ state: { reported: { [`key${index}`]: index } } });
        return iotData.send(new UpdateThingShadowCommand({ thingName, payload }));
      };
      const work = Array.from({ length: REQUESTS }, (_, index) => [
        update(index),
        iot.send(new DescribeThingCommand({ thingName })),
        ...(index % (REQUESTS / PANICS) === 0 ? [assertPanics(path)] : []),
      ]);
      const versions = (await Promise.all(work.flat())).map((answer) => answer?.payload && decode(answer.payload).version).filter(Number.isInteger);
      const expected = Array.from({ length: REQUESTS }, (_, index) => index + 1);
      assert.deepEqual(versions.sort((a, b) => a - b), expected);

      const shadow = decode((await iotData.send(new GetThingShadowCommand({ thingName }))).payload);
      assert.equal(shadow.version, REQUESTS);
      assert.deepEqual(shadow.state.reported, Object.fromEntries(expected.map((version) => [`key${version - 1}`, version - 1])));
    });

    test("connected clients stay connected and get every message", async (t) => {
      const topic = unique("calm");
      const clients = await connectMany(t, ON_ALL_BROKERS);
      const closed = [];
      for (const client of clients) client.closed.then(() => closed.push(client.id));
      await Promise.all(clients.map((client) => client.subscribe(topic)));
      const rounds = [];
      for (let number = 0; number < PANICS; number += 1) {
        rounds.push(assertPanics(path));
        rounds.push(...clients.slice(0, 5).map((client) => client.publish(topic, `while it panics ${number}`)));
      }
      await Promise.all(rounds);
      await assertAllConnected(clients, topic);
      for (const client of clients) assert.equal(client.texts(topic).filter((text) => text.startsWith("while")).length, 5 * PANICS);
      assert.deepEqual(closed, []);
    });

    test("a device and its shadow go on", async (t) => {
      const thingName = unique("thing");
      const shadow = `$aws/things/${thingName}/shadow`;
      const [device] = await connectMany(t, 1);
      await device.subscribe(`${shadow}/update/accepted`);
      for (let version = 1; version <= PANICS; version += 1) {
        const panic = assertPanics(path);
        await device.publish(`${shadow}/update`, { state: { reported: { version } } });
        assert.equal((await device.nextJson(`${shadow}/update/accepted`)).version, version);
        await panic;
      }
    });
  });
}

suite("GET /__test/trap-in-broker", () => {
  test(`what is stored stays, and so do clients whose sockets outlive the memory; others are told to connect again`, async (t) => {
    const [thingName, topic] = [unique("thing"), unique("trap")];
    const update = async (version) => {
      const payload = encode({ state: { reported: { version } } });
      const answer = await iotData.send(new UpdateThingShadowCommand({ thingName, payload }));
      assert.equal(decode(answer.payload).version, version);
    };
    await update(1);
    const listeners = [];
    while (listeners.length < ON_ALL_BROKERS) {
      const listener = await connectRaw(t, { clientId: unique("listener") });
      listener.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 0 }] });
      await listener.next("suback");
      listeners.push(listener);
    }
    await brokersAtRest();

    // Who asked may never hear: the instance that would have answered is gone.
    const asked = new AbortController();
    fetch(`${contract.endpoint}/__test/trap-in-broker`, { signal: asked.signal }).catch(() => {});
    t.after(() => asked.abort());
    await sleep(TRAP_MILLIS);
    // some come to each Broker, none of which remembers anything
    const [publisher] = await connectMany(t, ON_ALL_BROKERS);
    if (socketMode === "accepted") {
      const codes = await within(Promise.all(listeners.map(({ closed }) => closed)), "the end of all connections");
      assert.deepEqual(new Set(codes), new Set([1012]));
    } else {
      await publisher.publish(topic, "to those who stayed");
      for (const listener of listeners) await listener.next("publish");
    }
    await update(2);
  });
});

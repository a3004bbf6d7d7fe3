// Will Messages, their delay, and lifecycle events.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "./support/mqtt.mjs";
import { kill, unique, within } from "./support/platform.mjs";

const durable = { clean: false, properties: { sessionExpiryInterval: 600 } };

async function cutOff(client) {
  client.mqtt.stream.destroy();
  await within(client.closed, "the end of the connection");
}

suite("Wills", { concurrency: true }, () => {
  let crashed;
  /** The half minute after the crash is the others' time. */
  const afterTheCrash = new Promise((resolve) => {
    crashed = resolve;
  });

  test("a will with a delay comes after the delay", async (t) => {
    await afterTheCrash;
    const topic = unique("delayed");
    const watcher = await connect(t);
    await watcher.subscribe(topic);
    const client = await connect(t, { ...durable, clientId: unique("gone"), will: { topic, payload: "late", qos: 1, properties: { willDelayInterval: 2 } } });
    const began = Date.now();
    await cutOff(client);
    await watcher.next(topic);
    assert.ok(Date.now() - began >= 1_900, "not before its delay");
  });

  test("a client that is back before the delay is over leaves no will", async (t) => {
    await afterTheCrash;
    const [topic, clientId] = [unique("cancelled"), unique("back")];
    const watcher = await connect(t);
    await watcher.subscribe(topic);
    const options = { ...durable, clientId, will: { topic, payload: "never", qos: 1, properties: { willDelayInterval: 3 } } };
    await cutOff(await connect(t, options));
    await connect(t, { ...durable, clientId });
    await sleep(4_000);
    assert.deepEqual(watcher.texts(topic), []);
  });

  test("a will comes although the platform ended with the connection", async (t) => {
    t.after(crashed);
    const [topic, clientId, watcherId] = [unique("crash"), unique("gone"), unique("watcher")];
    const watcher = await connect(t, { ...durable, clientId: watcherId });
    await watcher.subscribe(topic);
    await connect(t, { clientId, keepalive: 5, will: { topic, payload: "the platform crashed", qos: 1 } });
    await kill();
    // Whoever comes back to the Broker makes it notice that its connections are gone; enough of them find each Broker.
    const others = [];
    for (let index = 0; index < 12; index += 1) others.push(await connect(t));
    const again = await connect(t, { ...durable, clientId: watcherId });
    crashed();
    // Clients of a Broker that started afresh have half a minute to come back.
    const came = async () => { while (again.texts(topic).length === 0) await sleep(100); };
    await within(came(), "the will", 90_000);
  });
});

suite("Lifecycle events", () => {
  test("connecting, subscribing and disconnecting are told in AWS's words", async (t) => {
    const [clientId, filter] = [unique("seen"), unique("filter")];
    const watcher = await connect(t);
    await watcher.subscribe([`$aws/events/presence/+/${clientId}`, `$aws/events/subscriptions/+/${clientId}`]);
    const client = await connect(t, { clientId });
    const connected = await watcher.nextJson(`$aws/events/presence/connected/${clientId}`);
    assert.equal(connected.clientId, clientId);
    assert.equal(connected.eventType, "connected");
    assert.equal(typeof connected.timestamp, "number");
    assert.match(connected.sessionIdentifier, /^[0-9a-f-]{36}$/);
    assert.ok(connected.principalIdentifier);
    await client.subscribe(filter);
    const subscribed = await watcher.nextJson(`$aws/events/subscriptions/subscribed/${clientId}`);
    assert.deepEqual(subscribed.topics, [filter]);
    assert.equal(subscribed.eventType, "subscribed");
    await client.unsubscribe(filter);
    const unsubscribed = await watcher.nextJson(`$aws/events/subscriptions/unsubscribed/${clientId}`);
    assert.deepEqual(unsubscribed.topics, [filter]);
    await client.end();
    const disconnected = await watcher.nextJson(`$aws/events/presence/disconnected/${clientId}`);
    assert.equal(disconnected.eventType, "disconnected");
    assert.equal(disconnected.clientInitiatedDisconnect, true);
    assert.equal(disconnected.disconnectReason, "CLIENT_INITIATED_DISCONNECT");
    assert.equal(disconnected.versionNumber, connected.versionNumber);
    assert.equal(disconnected.sessionIdentifier, connected.sessionIdentifier);
  });

  test("the reason of a disconnection is told", async (t) => {
    const clientId = unique("why");
    const watcher = await connect(t);
    await watcher.subscribe(`$aws/events/presence/disconnected/${clientId}`);
    const reason = async () => (await watcher.nextJson(`$aws/events/presence/disconnected/${clientId}`)).disconnectReason;
    await cutOff(await connect(t, { clientId }));
    assert.equal(await reason(), "CONNECTION_LOST");
    await connect(t, { clientId });
    const last = await connect(t, { clientId });
    assert.equal(await reason(), "DUPLICATE_CLIENTID");
    last.mqtt.stream.destroy();
    assert.equal(await reason(), "CONNECTION_LOST");
  });
});

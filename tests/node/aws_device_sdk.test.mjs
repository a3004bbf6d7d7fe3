// The AWS IoT Device SDK for JavaScript v2, unmodified: TLS, WebSocket, SigV4, MQTT 5 and 3.1.1.

import assert from "node:assert/strict";
import { createSign, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { after, suite, test } from "node:test";
import { auth, iot, mqtt, mqtt5 } from "aws-iot-device-sdk-v2";
import { allowed, authorizer, authorizerFunction } from "./support/authorizer.mjs";
import { contract, restart, unique, within } from "./support/platform.mjs";
import { tlsInFront } from "./support/tls.mjs";

// The SDK's native threads sometimes keep the process, although every client is closed.
after(() => setTimeout(() => process.exit(), 3_000).unref());

const text = (payload) => new TextDecoder().decode(payload);

const credentials = () =>
  auth.AwsCredentialsProvider.newStatic(contract.accessKeyId, contract.secretAccessKey);

class Device {
  inbox = [];
  #watchers = new Set();

  constructor(client) {
    this.client = client;
    client.on("messageReceived", ({ message }) => {
      this.inbox.push(message);
      for (const watcher of this.#watchers) watcher();
    });
  }

  async next(topic) {
    const find = () => this.inbox.findIndex((message) => message.topicName === topic);
    if (find() < 0) {
      let watcher;
      const here = new Promise((resolve) => {
        watcher = () => find() >= 0 && resolve();
        this.#watchers.add(watcher);
      });
      await within(here, `a message on ${topic}`, 30_000).finally(() => this.#watchers.delete(watcher));
    }
    return this.inbox.splice(find(), 1)[0];
  }

  publish(topicName, payload, options = {}) {
    return within(this.client.publish({ topicName, payload, qos: mqtt5.QoS.AtLeastOnce, ...options }), `PUBACK on ${topicName}`, 30_000);
  }

  subscribe(topicFilter, qos = mqtt5.QoS.AtLeastOnce) {
    return within(this.client.subscribe({ subscriptions: [{ topicFilter, qos }] }), `SUBACK for ${topicFilter}`, 30_000);
  }
}

/** A connected MQTT 5 client, as AWS's documentation makes one. */
async function device(t, front, { clientId = unique("sdk"), ...options } = {}) {
  const builder = iot.AwsIotMqtt5ClientConfigBuilder.newWebsocketMqttBuilderWithSigv4Auth("localhost", {
    region: contract.region,
    credentialsProvider: credentials(),
  });
  builder.withPort(front.port);
  builder.withCertificateAuthorityFromPath(undefined, front.ca);
  builder.withConnectProperties({ keepAliveIntervalSeconds: 60, clientId, ...options.connect });
  if (options.session) builder.withSessionBehavior(options.session);
  builder.withMinReconnectDelayMs(100);
  builder.withMaxReconnectDelayMs(500);
  const client = new mqtt5.Mqtt5Client(builder.build());
  const success = once(client, "connectionSuccess");
  client.start();
  const [{ connack }] = await within(success, "CONNACK", 30_000);
  t.after(async () => {
    const stopped = once(client, "stopped");
    client.stop();
    await stopped;
    client.close();
  });
  return Object.assign(new Device(client), { connack });
}

/** The same, let in by a custom authorizer. */
async function authorized(t, front, config) {
  const builder = iot.AwsIotMqtt5ClientConfigBuilder.newWebsocketMqttBuilderWithCustomAuth("localhost", config);
  builder.withPort(front.port);
  builder.withCertificateAuthorityFromPath(undefined, front.ca);
  const clientId = unique("sdk");
  builder.withConnectProperties({ keepAliveIntervalSeconds: 60, clientId });
  const client = new mqtt5.Mqtt5Client(builder.build());
  const outcome = Promise.race([once(client, "connectionSuccess"), once(client, "connectionFailure")]);
  client.start();
  const [{ connack }] = await within(outcome, "CONNACK", 30_000);
  t.after(async () => {
    const stopped = once(client, "stopped");
    client.stop();
    await stopped;
    client.close();
  });
  return Object.assign(new Device(client), { connack, clientId });
}

const LASTING = {
  connect: { sessionExpiryIntervalSeconds: 600 },
  session: mqtt5.ClientSessionBehavior.RejoinAlways,
};

suite("AWS IoT Device SDK v2, MQTT 5", () => {
  test("messages of QoS 0 and 1 come as they were published, with their properties", async (t) => {
    const front = await tlsInFront(t);
    const topic = unique("sdk");
    const [publisher, subscriber] = [await device(t, front), await device(t, front)];
    assert.deepEqual((await subscriber.subscribe(topic)).reasonCodes, [mqtt5.SubackReasonCode.GrantedQoS1]);
    for (const qos of [mqtt5.QoS.AtMostOnce, mqtt5.QoS.AtLeastOnce]) {
      await publisher.publish(topic, `with ${qos}`, { qos, contentType: "text/plain", userProperties: [{ name: "n", value: "v" }] });
      const message = await subscriber.next(topic);
      assert.equal(text(message.payload), `with ${qos}`);
      assert.equal(message.qos, qos);
      assert.equal(message.contentType, "text/plain");
      assert.deepEqual(message.userProperties, [{ name: "n", value: "v" }]);
    }
  });

  test("a custom authorizer lets a device in, whose token is signed or not", async (t) => {
    const front = await tlsInFront(t);
    const { url, events } = await authorizerFunction(t, (event) => (event.token === "bad" ? { isAuthenticated: false } : allowed()));
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2_048 });
    const tokenSigningPublicKeys = { key: publicKey.export({ type: "spki", format: "pem" }) };
    const signed = await authorizer(t, url, { tokenKeyName: "token-key", tokenSigningPublicKeys });
    const unsigned = await authorizer(t, url);
    const sign = (token) => createSign("sha256").update(token).sign(privateKey, "base64");
    const own = await authorized(t, front, { authorizerName: unsigned, username: "me", password: Buffer.from("secret") });
    await own.subscribe(`${own.clientId}/#`);
    await own.publish(`${own.clientId}/state`, "on");
    assert.equal(text((await own.next(`${own.clientId}/state`)).payload), "on");
    const config = (token) => ({ authorizerName: signed, tokenKeyName: "token-key", tokenValue: token, tokenSignature: sign(token) });
    assert.equal((await authorized(t, front, config("good"))).connack.reasonCode, 0);
    assert.equal(events.at(-1).signatureVerified, true);
    assert.notEqual((await authorized(t, front, config("bad"))).connack.reasonCode, 0);
    assert.equal(events.at(-1).token, "bad");
    const forged = { ...config("good"), tokenSignature: sign("bad") };
    const before = events.length;
    assert.notEqual((await authorized(t, front, forged)).connack.reasonCode, 0);
    assert.equal(events.length, before, "the function is not asked");
  });

  test("a retained message comes to who subscribes later", async (t) => {
    const front = await tlsInFront(t);
    const topic = unique("sdk-retained");
    const [publisher, subscriber] = [await device(t, front), await device(t, front)];
    await publisher.publish(topic, "kept", { retain: true });
    await subscriber.subscribe(topic);
    const message = await subscriber.next(topic);
    assert.deepEqual([text(message.payload), message.retain], ["kept", true]);
  });

  test("a will comes when the device is taken over", async (t) => {
    const front = await tlsInFront(t);
    const [topic, clientId] = [unique("sdk-will"), unique("sdk")];
    const watcher = await device(t, front);
    await watcher.subscribe(topic);
    await device(t, front, { clientId, connect: { will: { topicName: topic, payload: "gone", qos: mqtt5.QoS.AtLeastOnce } } });
    await device(t, front, { clientId });
    assert.equal(text((await watcher.next(topic)).payload), "gone");
  });

  test("a session lasts over the platform's restart: the device comes back by itself and misses nothing", async (t) => {
    const front = await tlsInFront(t);
    const topic = unique("sdk-lasting");
    const subscriber = await device(t, front, LASTING);
    await subscriber.subscribe(topic);
    const back = once(subscriber.client, "connectionSuccess");
    await restart();
    const publisher = await device(t, front);
    await publisher.publish(topic, "meanwhile");
    const [{ connack, settings }] = await within(back, "the device to come back", 60_000);
    assert.equal(connack.sessionPresent, true);
    assert.equal(settings.rejoinedSession, true);
    assert.equal(text((await subscriber.next(topic)).payload), "meanwhile");
  });
});

suite("AWS IoT Device SDK v2, MQTT 3.1.1", () => {
  for (const clean of [true, false]) {
    test(`messages of QoS 0 and 1, ${clean ? "a clean session" : "a session that lasts"}`, async (t) => {
      const front = await tlsInFront(t);
      const [topic, clientId] = [unique("sdk3"), unique("sdk3")];
      const config = iot.AwsIotMqttConnectionConfigBuilder.new_with_websockets({
        region: contract.region,
        credentials_provider: credentials(),
      })
        .with_certificate_authority_from_path(undefined, front.ca)
        .with_endpoint("localhost")
        .with_port(front.port)
        .with_client_id(clientId)
        .with_clean_session(clean)
        .build();
      const connection = new mqtt.MqttClient().new_connection(config);
      await within(connection.connect(), "CONNACK", 30_000);
      t.after(() => connection.disconnect());
      const received = [];
      await within(connection.subscribe(topic, mqtt.QoS.AtLeastOnce, (_, payload) => received.push(text(payload))), "SUBACK", 30_000);
      await within(connection.publish(topic, "first", mqtt.QoS.AtLeastOnce), "PUBACK", 30_000);
      await connection.publish(topic, "second", mqtt.QoS.AtMostOnce);
      await within((async () => { while (received.length < 2) await new Promise((resolve) => setTimeout(resolve, 20)); })(), "both messages", 30_000);
      assert.deepEqual(received, ["first", "second"]);
    });
  }
});

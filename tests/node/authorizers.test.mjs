// Custom authorizers: a function of the operator's says who comes in and what it may do.

import assert from "node:assert/strict";
import { createSign, generateKeyPairSync } from "node:crypto";
import { suite, test } from "node:test";
import {
  ClearDefaultAuthorizerCommand,
  CreateAuthorizerCommand,
  DeleteAuthorizerCommand,
  DescribeAuthorizerCommand,
  DescribeDefaultAuthorizerCommand,
  ListAuthorizersCommand,
  SetDefaultAuthorizerCommand,
  TestInvokeAuthorizerCommand,
  UpdateAuthorizerCommand,
} from "@aws-sdk/client-iot";
import { allowed, authorizer, authorizerFunction } from "./support/authorizer.mjs";
import { open } from "./support/mqtt.mjs";
import { BROKERS_SLEEP, contract, evictBrokers, iot, unique } from "./support/platform.mjs";

const NAME = "x-amz-customauthorizer-name";

suite("a custom authorizer", { concurrency: true }, () => {
  for (const { where, options } of [
    { where: "in the MQTT user name", options: (name) => ({ username: `me?${NAME}=${name}`, password: "secret" }) },
    { where: "in the query", options: (name) => ({ username: "me", password: "secret", transformWsUrl: () => `${contract.mqtt}?${NAME}=${name}` }) },
    { where: "in a header", options: (name) => ({ username: "me", password: "secret", wsOptions: { headers: { [NAME]: name } } }) },
  ]) {
    test(`that is named ${where} lets a client in, which does what it says`, async (t) => {
      const { url, events } = await authorizerFunction(t, () => allowed());
      const name = await authorizer(t, url);
      const client = open(t, options(name));
      await client.connected();
      await client.publish(`${client.id}/state`, "on", { qos: 1 });
      await assert.rejects(client.mqtt.publishAsync("elsewhere", "x", { qos: 1 }), { code: 0x87 });
      assert.equal(events.length, 1);
      const [{ protocolData, protocols, signatureVerified, connectionMetadata }] = events;
      assert.equal(Buffer.from(protocolData.mqtt.password, "base64").toString(), "secret");
      assert.equal(protocolData.mqtt.clientId, client.id);
      assert.ok(protocols.includes("mqtt"));
      assert.equal(signatureVerified, false);
      assert.ok(connectionMetadata.id);
    });
  }

  test("lets nobody in whom it denies, who names no authorizer, or whose answer is none", async (t) => {
    const answers = { denied: { isAuthenticated: false }, broken: { isAuthenticated: true }, failed: { status: 500 } };
    const { url } = await authorizerFunction(t, (event) => answers[event.protocolData.mqtt.username.split("?")[0]]);
    const name = await authorizer(t, url);
    for (const username of [`denied?${NAME}=${name}`, `broken?${NAME}=${name}`, `failed?${NAME}=${name}`, `denied?${NAME}=${unique("none")}`]) {
      await assert.rejects(open(t, { username, password: "x" }).connected(), { code: 0x86 }, username);
    }
    await iot.send(new UpdateAuthorizerCommand({ authorizerName: name, status: "INACTIVE" }));
    await assert.rejects(open(t, { username: `x?${NAME}=${name}`, password: "x" }).connected(), { code: 0x86 });
  });

  test("whose tokens are signed is asked only with a good signature", async (t) => {
    const { url, events } = await authorizerFunction(t, () => allowed());
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2_048 });
    const pem = publicKey.export({ type: "spki", format: "pem" });
    const name = await authorizer(t, url, { tokenKeyName: "tok", tokenSigningPublicKeys: { first: pem } });
    const signature = createSign("sha256").update("my-token").sign(privateKey, "base64");
    const user = (token, signature) =>
      `me?${NAME}=${name}&tok=${token}&x-amz-customauthorizer-signature=${encodeURIComponent(signature)}`;
    for (const username of [user("other", signature), user("my-token", "AAAA"), `me?${NAME}=${name}&tok=my-token`, `me?${NAME}=${name}`]) {
      await assert.rejects(open(t, { username, password: undefined }).connected(), { code: 0x87 }, username);
    }
    assert.equal(events.length, 0);
    await open(t, { username: user("my-token", signature), password: undefined }).connected();
    assert.deepEqual([events[0].token, events[0].signatureVerified], ["my-token", true]);
  });

  test("is asked about requests over HTTPS, and once for many if it says so", async (t) => {
    const { url, events } = await authorizerFunction(t, () => allowed([["Allow", "Publish", "topic/mine"]]));
    const [cached, each] = [await authorizer(t, url, { signingDisabled: true, enableCachingForHttp: true }), await authorizer(t, url)];
    const publish = (topic, name) => fetch(`${contract.endpoint}/topics/${topic}`, { method: "POST", headers: { [NAME]: name }, body: "x" });
    assert.deepEqual([(await publish("mine", cached)).status, (await publish("mine", cached)).status, events.length], [200, 200, 1]);
    assert.equal((await publish("others", cached)).status, 403);
    assert.deepEqual([(await publish("mine", each)).status, (await publish("mine", each)).status, events.length], [200, 200, 3]);
    assert.equal(events[0].protocolData.http.headers[NAME], cached);
    assert.equal((await publish("mine", unique("none"))).status, 403);
  });

  test("keeps its clients over the sleep of their node", BROKERS_SLEEP, async (t) => {
    const { url, events } = await authorizerFunction(t, () => allowed());
    const name = await authorizer(t, url);
    const client = open(t, { username: `me?${NAME}=${name}`, password: "x" });
    await client.connected();
    await evictBrokers();
    await client.publish(`${client.id}/state`, "on", { qos: 1 });
    await assert.rejects(client.mqtt.publishAsync("elsewhere", "x", { qos: 1 }), { code: 0x87 });
    assert.equal(events.length, 1);
  });

  test("is tried out before it is used", async (t) => {
    const answers = { good: allowed(), bad: { isAuthenticated: true, principalId: "not valid!" } };
    const { url } = await authorizerFunction(t, (event) => answers[event.protocolData.mqtt.username]);
    const authorizerName = await authorizer(t, url);
    const invoke = (username) => iot.send(new TestInvokeAuthorizerCommand({ authorizerName, mqttContext: { username, password: Buffer.from("p"), clientId: "c" } }));
    const good = await invoke("good");
    assert.deepEqual([good.isAuthenticated, good.principalId, good.refreshAfterInSeconds], [true, "Someone1", 300]);
    await assert.rejects(invoke("bad"), { name: "InvalidResponseException" });
  });

  test("is created, described, listed and deleted", async (t) => {
    const authorizerName = await authorizer(t, "https://functions.example/authorize");
    await assert.rejects(
      iot.send(new CreateAuthorizerCommand({ authorizerName, authorizerFunctionArn: "https://functions.example/", signingDisabled: true })),
      { name: "ResourceAlreadyExistsException" },
    );
    const keyless = new CreateAuthorizerCommand({ authorizerName: unique("a"), authorizerFunctionArn: "https://functions.example/" });
    await assert.rejects(iot.send(keyless), { name: "InvalidRequestException" });
    const { authorizerDescription: described } = await iot.send(new DescribeAuthorizerCommand({ authorizerName }));
    assert.deepEqual([described.status, described.signingDisabled], ["ACTIVE", true]);
    const { authorizers } = await iot.send(new ListAuthorizersCommand({ pageSize: 250, status: "ACTIVE" }));
    assert.ok(authorizers.some((one) => one.authorizerName === authorizerName));
    await assert.rejects(iot.send(new DeleteAuthorizerCommand({ authorizerName })), { name: "DeleteConflictException" });
    await iot.send(new UpdateAuthorizerCommand({ authorizerName, status: "INACTIVE" }));
    await iot.send(new DeleteAuthorizerCommand({ authorizerName }));
    await assert.rejects(iot.send(new DescribeAuthorizerCommand({ authorizerName })), { name: "ResourceNotFoundException" });
  });
});

test("the default authorizer is asked about clients that name none and have no other proof", async (t) => {
  const { url } = await authorizerFunction(t, (event) => (event.protocolData.mqtt?.username === "friend" ? allowed() : { isAuthenticated: false }));
  const authorizerName = await authorizer(t, url);
  await assert.rejects(iot.send(new DescribeDefaultAuthorizerCommand({})), { name: "ResourceNotFoundException" });
  await iot.send(new SetDefaultAuthorizerCommand({ authorizerName }));
  try {
    const { authorizerDescription } = await iot.send(new DescribeDefaultAuthorizerCommand({}));
    assert.equal(authorizerDescription.authorizerName, authorizerName);
    await open(t, { username: "friend", password: "x" }).connected();
    await assert.rejects(open(t, { username: "stranger", password: "x" }).connected(), { code: 0x86 });
  } finally {
    await iot.send(new ClearDefaultAuthorizerCommand({}));
  }
  await assert.rejects(open(t, { username: "friend", password: "x" }).connected(), { code: 0x86 });
});

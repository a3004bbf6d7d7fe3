// People and services with API keys, devices with temporary credentials, and what policies let them do over HTTPS and MQTT.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  AttachPolicyCommand,
  CreatePolicyCommand,
  CreateRoleAliasCommand,
  DeletePolicyCommand,
  DeleteRoleAliasCommand,
  DescribeRoleAliasCommand,
  DescribeThingCommand,
  DetachPolicyCommand,
  IoTClient,
  ListRoleAliasesCommand,
  ListThingsCommand,
  TestAuthorizationCommand,
  GetEffectivePoliciesCommand,
  UpdateCertificateCommand,
  UpdateRoleAliasCommand,
} from "@aws-sdk/client-iot";
import { GetThingShadowCommand, IoTDataPlaneClient, PublishCommand } from "@aws-sdk/client-iot-data-plane";
import { OWN_TOPICS as OWN, device, document, token, verified } from "./support/device.mjs";
import { connect, open } from "./support/mqtt.mjs";
import { contract, iot, unique, within } from "./support/platform.mjs";
import { presign, signedFetch } from "./support/presign.mjs";

const arn = (resource) => `arn:aws:iot:${contract.region}:${contract.accountId}:${resource}`;
const clients = (credentials) => {
  const options = { endpoint: contract.endpoint, region: contract.region, credentials, maxAttempts: 1 };
  return { control: new IoTClient(options), data: new IoTDataPlaneClient(options) };
};
const denied = (name) => ({ name });

/** A policy attached to a target; it goes with the test. */
async function allow(t, target, statements) {
  const policyName = unique("policy");
  await iot.send(new CreatePolicyCommand({ policyName, policyDocument: document(statements) }));
  await iot.send(new AttachPolicyCommand({ policyName, target }));
  t.after(async () => {
    await iot.send(new DetachPolicyCommand({ policyName, target }));
    await iot.send(new DeletePolicyCommand({ policyName })).catch(() => {});
  });
  return policyName;
}

async function apiKey(t) {
  const made = await (await signedFetch("POST", "/api-keys", { description: "a test" })).json();
  t.after(() => signedFetch("DELETE", `/api-keys/${made.apiKeyId}`));
  return { ...made, accessKeyId: made.apiKeyId, secretAccessKey: made.secretAccessKey };
}

suite("an API key", { concurrency: true }, () => {
  test("does what its policies allow, on both planes, and nothing else", async (t) => {
    const key = await apiKey(t);
    const { control, data } = clients(key);
    await assert.rejects(control.send(new ListThingsCommand({})), denied("AccessDeniedException"));
    await allow(t, key.apiKeyArn, [
      ["Allow", "DescribeThing", "thing/lamp*"],
      ["Allow", "Publish", "topic/lamps/*"],
      ["Deny", "Publish", "topic/lamps/secret"],
      ["Allow", "GetThingShadow", "thing/lamp"],
    ]);
    await assert.rejects(control.send(new DescribeThingCommand({ thingName: "lamp-x" })), denied("ResourceNotFoundException"));
    await assert.rejects(control.send(new DescribeThingCommand({ thingName: "door" })), denied("AccessDeniedException"));
    await data.send(new PublishCommand({ topic: "lamps/1", payload: "on" }));
    const secret = data.send(new PublishCommand({ topic: "lamps/secret", payload: "on" }));
    await assert.rejects(secret, (error) => error.name === "ForbiddenException" && /denies it/.test(error.message));
    const retained = data.send(new PublishCommand({ topic: "lamps/1", payload: "on", retain: true }));
    await assert.rejects(retained, (error) => /iot:RetainPublish/.test(error.message));
    await assert.rejects(data.send(new GetThingShadowCommand({ thingName: "lamp" })), denied("ResourceNotFoundException"));
    await assert.rejects(data.send(new GetThingShadowCommand({ thingName: "lamp", shadowName: "x" })), denied("ForbiddenException"));
  });

  test("connects with MQTT by its secret, and by a presigned URL", async (t) => {
    const key = await apiKey(t);
    await allow(t, key.apiKeyArn, OWN);
    const client = open(t, { username: key.accessKeyId, password: key.secretAccessKey });
    await client.connected();
    await client.publish(`${client.id}/state`, "on", { qos: 1 });
    await assert.rejects(client.mqtt.publishAsync("elsewhere", "x", { qos: 1 }), { code: 0x87 });
    const signed = open(t, { username: undefined, password: undefined, transformWsUrl: () => presign(key) });
    await signed.connected();
    const wrong = open(t, { username: key.accessKeyId, password: `${key.secretAccessKey}x` });
    await assert.rejects(wrong.connected(), { code: 0x86 });
  });

  test("ends with its connections when it is deactivated, or deleted", async (t) => {
    for (const [method, body] of [["PATCH", { status: "INACTIVE" }], ["DELETE", undefined]]) {
      const key = await apiKey(t);
      await allow(t, key.apiKeyArn, [...OWN, ["Allow", "ListThings", "*"]]);
      const client = open(t, { username: key.accessKeyId, password: key.secretAccessKey });
      await client.connected();
      await signedFetch(method, `/api-keys/${key.apiKeyId}`, body);
      await within(client.closed, "the connection's end");
      await assert.rejects(clients(key).control.send(new ListThingsCommand({})), denied("UnrecognizedClientException"));
    }
  });

  test("is listed and described without its secret", async (t) => {
    const key = await apiKey(t);
    const described = await (await signedFetch("GET", `/api-keys/${key.apiKeyId}`)).json();
    assert.deepEqual([described.status, described.description, described.secretAccessKey], ["ACTIVE", "a test", undefined]);
    const { apiKeys } = await (await signedFetch("GET", "/api-keys?maxResults=250")).json();
    assert.ok(apiKeys.some(({ apiKeyId }) => apiKeyId === key.apiKeyId));
  });
});

suite("temporary credentials", { concurrency: true }, () => {
  const roleArn = () => `arn:aws:iam::${contract.accountId}:role/${unique("role")}`;
  const ask = (alias, headers) => fetch(`${contract.endpoint}/role-aliases/${alias}/credentials`, { headers });

  test("are given to a certificate's holder for a role, and end with the certificate", async (t) => {
    const [alias, role] = [unique("alias"), roleArn()];
    await iot.send(new CreateRoleAliasCommand({ roleAlias: alias, roleArn: role, credentialDurationSeconds: 900 }));
    t.after(() => iot.send(new DeleteRoleAliasCommand({ roleAlias: alias })));
    const own = await device(t, [["Allow", "AssumeRoleWithCertificate", `rolealias/${alias}`]]);
    const { headers } = verified(own.fingerprint).wsOptions;
    const { credentials } = await (await ask(alias, headers)).json();
    assert.match(credentials.accessKeyId, /^ASIA/);
    const lasts = Date.parse(credentials.expiration) - Date.now();
    assert.ok(lasts > 800_000 && lasts <= 900_000, String(lasts));

    const { accessKeyId, secretAccessKey, sessionToken } = credentials;
    const { data } = clients({ accessKeyId, secretAccessKey, sessionToken });
    await assert.rejects(data.send(new PublishCommand({ topic: "role/x", payload: "1" })), denied("ForbiddenException"));
    await allow(t, role, [["Allow", "Publish", "topic/role/*"], ["Allow", "Connect", "client/*", { StringEquals: { "credentials-iot:AwsCertificateId": own.fingerprint } }]]);
    await data.send(new PublishCommand({ topic: "role/x", payload: "1" }));
    const client = open(t, {
      username: undefined,
      password: undefined,
      transformWsUrl: () => presign({ ...credentials, appendedToken: credentials.sessionToken }),
    });
    await client.connected();

    await iot.send(new UpdateCertificateCommand({ certificateId: own.fingerprint, newStatus: "INACTIVE" }));
    await within(client.closed, "the connection's end");
    await assert.rejects(data.send(new PublishCommand({ topic: "role/x", payload: "1" })), denied("UnrecognizedClientException"));
  });

  test("are given to nobody else", async (t) => {
    const alias = unique("alias");
    await iot.send(new CreateRoleAliasCommand({ roleAlias: alias, roleArn: roleArn() }));
    t.after(() => iot.send(new DeleteRoleAliasCommand({ roleAlias: alias })));
    const { headers } = verified((await device(t, OWN)).fingerprint).wsOptions;
    assert.equal((await ask(alias, headers)).status, 403, "no policy");
    assert.equal((await ask(alias, {})).status, 403, "no certificate");
    const allowed = await device(t, [["Allow", "AssumeRoleWithCertificate", "rolealias/*"]]);
    const own = verified(allowed.fingerprint).wsOptions.headers;
    assert.equal((await ask(unique("no-alias"), own)).status, 404);
    assert.equal((await ask(alias, { ...own, "x-amzn-iot-thingname": "no-thing-of-it" })).status, 403);
    const bearer = { authorization: `Bearer ${token(allowed)}` };
    assert.equal((await ask(alias, bearer)).status, 200, "a token proves the certificate's key, too");
  });

  test("are described by their role alias", async (t) => {
    const [alias, role, other] = [unique("alias"), roleArn(), roleArn()];
    await iot.send(new CreateRoleAliasCommand({ roleAlias: alias, roleArn: role }));
    await assert.rejects(iot.send(new CreateRoleAliasCommand({ roleAlias: alias, roleArn: role })), denied("ResourceAlreadyExistsException"));
    await iot.send(new UpdateRoleAliasCommand({ roleAlias: alias, roleArn: other }));
    const { roleAliasDescription: described } = await iot.send(new DescribeRoleAliasCommand({ roleAlias: alias }));
    assert.deepEqual([described.roleArn, described.credentialDurationSeconds], [other, 3_600]);
    const { roleAliases } = await iot.send(new ListRoleAliasesCommand({ pageSize: 250 }));
    assert.ok(roleAliases.includes(alias));
    await iot.send(new DeleteRoleAliasCommand({ roleAlias: alias }));
    await assert.rejects(iot.send(new DescribeRoleAliasCommand({ roleAlias: alias })), denied("ResourceNotFoundException"));
  });
});

test("a device connects with a token of its key in the upgrade", async (t) => {
  const own = await device(t, OWN);
  const options = (bearer) => ({ username: undefined, password: undefined, wsOptions: { headers: { authorization: `Bearer ${bearer}` } } });
  const client = open(t, options(token(own)));
  await client.connected();
  await client.publish(`${client.id}/state`, "on", { qos: 1 });
  await assert.rejects(open(t, options(token(own, { aud: "elsewhere" }))).connected());
});

suite("a device over HTTPS", { concurrency: true }, () => {
  const publish = (topic, headers) => fetch(`${contract.endpoint}/topics/${topic}?qos=1`, { method: "POST", headers, body: "on" });

  test("publishes what its policy allows, with its certificate or a token of its key", async (t) => {
    const topic = unique("topic");
    const own = await device(t, [["Allow", "Publish", `topic/${topic}/*`]]);
    const root = await connect(t);
    await root.subscribe(`${topic}/#`);
    for (const headers of [verified(own.fingerprint).wsOptions.headers, { authorization: `Bearer ${token(own)}` }]) {
      assert.equal((await publish(`${topic}/a`, headers)).status, 200);
      await root.next(`${topic}/a`);
      const refused = await publish("elsewhere", headers);
      assert.equal(refused.status, 403);
      assert.match((await refused.json()).message, /iot:Publish on resource: arn:.*because no policy allows it/);
    }
    assert.equal((await fetch(`${contract.endpoint}/things`, { headers: verified(own.fingerprint).wsOptions.headers })).status, 404, "devices have no control plane");
  });

  test("is refused with a token that was used before, if it is good for one use", async (t) => {
    const own = await device(t, [["Allow", "Publish", "topic/*"], ["Allow", "Connect", "client/*"]]);
    const once = token(own, { jti: unique("once") });
    assert.equal((await publish("once", { authorization: `Bearer ${once}` })).status, 200);
    assert.equal((await publish("once", { authorization: `Bearer ${once}` })).status, 403);
    await assert.rejects(open(t, { username: "x", password: once }).connected(), { code: 0x86 });
  });

  test("is refused with a certificate or token that is no good", async (t) => {
    const own = await device(t, [["Allow", "Publish", "topic/*"]], "INACTIVE");
    for (const headers of [
      verified(own.fingerprint).wsOptions.headers,
      verified(own.fingerprint, { localSecret: "guessed" }).wsOptions.headers,
      { authorization: `Bearer ${token(own)}` },
      { authorization: `Bearer ${token(own, { aud: "elsewhere" })}` },
      { authorization: "Bearer x" },
      { "x-umbra-relay-certificate": "1.e30.AA" },
      {},
    ]) {
      assert.equal((await publish("x", headers)).status, 403, JSON.stringify(headers).slice(0, 60));
    }
  });
});

test("who fails to prove who it is too often has to wait, and nobody else", async () => {
  // what Cloudflare says of where a request comes from is a header here
  const attempt = (address, headers) => fetch(`${contract.endpoint}/things`, { headers: { "cf-connecting-ip": address, ...headers } });
  const [own, other] = [`198.51.100.${Math.floor(Math.random() * 250)}`, "203.0.113.7"];
  const statuses = new Set();
  for (let number = 0; number < 260 && !statuses.has(429); number += 1) statuses.add((await attempt(own)).status);
  assert.deepEqual([...statuses], [403, 429]);
  assert.equal((await attempt(own)).status, 429);
  assert.equal((await attempt(other)).status, 403);
});

test("a client id for which too many proofs were no good has to wait, and no other", async (t) => {
  const clientId = unique("guessed");
  // enough for the limit, and then for each node to hear that it is reached
  for (let number = 0; number < 60; number += 1) {
    const wrong = open(t, { clientId, username: contract.accessKeyId, password: `wrong ${number}` });
    await assert.rejects(wrong.connected(), { code: 0x86 });
  }
  await assert.rejects(open(t, { clientId }).connected(), { code: 0x86 });
  await open(t).connected();
});

test("the audit log has who changed what, and what was denied to whom, without secrets", async (t) => {
  const key = await apiKey(t);
  const policyName = await allow(t, key.apiKeyArn, OWN);
  const client = open(t, { username: key.accessKeyId, password: key.secretAccessKey });
  await client.connected();
  // what is denied too often is not written each time
  const events = await within(
    (async () => {
      for (;;) {
        await assert.rejects(client.mqtt.publishAsync("elsewhere", "x", { qos: 1 }), { code: 0x87 });
        await assert.rejects(clients(key).control.send(new ListThingsCommand({})), denied("AccessDeniedException"));
        const { events } = await (await signedFetch("GET", "/audit-log?maxResults=250")).json();
        const own = events.filter(({ principal, outcome }) => principal === key.apiKeyId && outcome === "denied");
        if (new Set(own.map(({ action }) => action)).size === 2) return events;
      }
    })(),
    "both denials in the log",
  );
  const own = events.filter(({ principal }) => principal === key.apiKeyId);
  const told = new Set(own.map(({ action, resource }) => `${action} ${resource}`));
  assert.deepEqual([...told].sort(), ["iot:ListThings *", `iot:Publish ${arn("topic/elsewhere")}`]);
  const made = events.find(({ action, resource }) => action === "iot:CreatePolicy" && resource === arn(`policy/${policyName}`));
  assert.deepEqual([made.outcome, made.principal], ["changed", contract.accessKeyId]);
  const text = JSON.stringify(events);
  assert.ok(!text.includes(key.secretAccessKey) && !text.includes(contract.secretAccessKey));
});

suite("before anybody tries", { concurrency: true }, () => {
  test("it can be asked what a certificate may do, and why", async (t) => {
    const { arn: principal, policyName } = await device(t, [["Allow", "Connect", "client/${iot:ClientId}"], ["Allow", "Publish", "topic/a/*"], ["Deny", "Publish", "topic/a/b"]]);
    const { effectivePolicies } = await iot.send(new GetEffectivePoliciesCommand({ principal }));
    assert.deepEqual(effectivePolicies.map((policy) => policy.policyName), [policyName]);
    const question = (actionType, resource) => ({ actionType, resources: [arn(resource)] });
    const { authResults } = await iot.send(
      new TestAuthorizationCommand({
        principal,
        clientId: "me",
        authInfos: [question("CONNECT", "client/me"), question("CONNECT", "client/you"), question("PUBLISH", "topic/a/x"), question("PUBLISH", "topic/a/b")],
      }),
    );
    assert.deepEqual(authResults.map(({ authDecision }) => authDecision), ["ALLOWED", "IMPLICIT_DENY", "ALLOWED", "EXPLICIT_DENY"]);
    assert.equal(authResults[3].denied.explicitDeny.policies[0].policyName, policyName);
  });
});

// Rules: from a publish, through the queue, to a web server.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  CreateTopicRuleCommand,
  DeleteTopicRuleCommand,
  GetTopicRuleCommand,
  InvalidRequestException,
  ListTopicRulesCommand,
  ResourceAlreadyExistsException,
  SqlParseException,
  UnauthorizedException,
} from "@aws-sdk/client-iot";
import { UpdateThingShadowCommand } from "@aws-sdk/client-iot-data-plane";
import { VERSIONS, connect } from "./support/mqtt.mjs";
import { encode, iot, iotData, unique } from "./support/platform.mjs";
import { startWebhook } from "./support/webhook.mjs";

const uniqueRule = () => unique("rule").replace("-", "_");

/** Creates a rule whose outputs go to `url`, and deletes it with the test: every rule costs every later publish. */
async function createRule(t, sql, url, { ruleName = uniqueRule(), ...payload } = {}) {
  const http = { url, ...(payload.headers ? { headers: payload.headers } : {}) };
  delete payload.headers;
  await iot.send(new CreateTopicRuleCommand({ ruleName, topicRulePayload: { sql, actions: [{ http }], ...payload } }));
  t.after(() => iot.send(new DeleteTopicRuleCommand({ ruleName })));
  return ruleName;
}

suite("Rules", { concurrency: true }, () => {
  for (const { version, protocolVersion } of VERSIONS) {
    test(`what an MQTT ${version} client publishes is selected from and sent to a web server`, async (t) => {
      const [webhook, root] = [await startWebhook(t), unique("rule")];
      const sql = `SELECT temp, temp * 2 AS twice, topic(2) AS place, clientid() AS device FROM '${root}/+' WHERE temp > 20`;
      await createRule(t, sql, webhook.url("/hot"), { headers: [{ key: "x-from", value: "umbra" }] });
      const device = await connect(t, { protocolVersion });
      await device.publish(`${root}/roof`, { temp: 21.5, unit: "C" });
      const [request] = await webhook.until("/hot");
      assert.equal(request.method, "POST");
      assert.equal(request.headers["content-type"], "application/json");
      assert.equal(request.headers["x-from"], "umbra");
      assert.deepEqual(JSON.parse(request.body), { temp: 21.5, twice: 43, place: "roof", device: device.id });
    });
  }

  test("a message that WHERE or FROM does not match is not sent, nor one that is no JSON", async (t) => {
    const [webhook, root] = [await startWebhook(t), unique("rule")];
    await createRule(t, `SELECT * FROM '${root}/a' WHERE temp > 20`, webhook.url("/hot"));
    const device = await connect(t);
    await device.publish(`${root}/a`, { temp: 19 });
    await device.publish(`${root}/a`, { other: 30 });
    await device.publish(`${root}/b`, { temp: 30 });
    await device.publish(`${root}/a`, "not JSON");
    await device.publish(`${root}/a`, { temp: 31, last: true });
    assert.deepEqual((await webhook.until("/hot")).map(({ body }) => JSON.parse(body)), [{ temp: 31, last: true }]);
  });

  test("a web server that fails twice gets the message a third time, later and later, and then no more", async (t) => {
    const webhook = await startWebhook(t, (path, earlier) => (path === "/flaky" && earlier < 2 ? 503 : 200));
    const root = unique("rule");
    await createRule(t, `SELECT * FROM '${root}/#'`, webhook.url("/flaky"));
    await createRule(t, `SELECT * FROM '${root}/#'`, webhook.url("/steady"));
    const device = await connect(t);
    await device.publish(`${root}/a`, { n: 1 });
    const requests = await webhook.until("/flaky", 3);
    assert.deepEqual(requests.map(({ status, body }) => [status, JSON.parse(body)]), [[503, { n: 1 }], [503, { n: 1 }], [200, { n: 1 }]]);
    assert.ok(requests[1].at - requests[0].at >= 900 && requests[2].at - requests[1].at >= 1_900, "waits of 1 s and 2 s");
    // the other rule's output was in the same batch and is not repeated with it
    await device.publish(`${root}/a`, { n: 2 });
    await webhook.until("/flaky", 4);
    assert.deepEqual((await webhook.until("/steady", 2)).map(({ body }) => JSON.parse(body).n), [1, 2]);
  });

  test("a web server that says the request is wrong does not get it again", async (t) => {
    const [webhook, root] = [await startWebhook(t, (path) => (path === "/refuses" ? 400 : 200)), unique("rule")];
    await createRule(t, `SELECT * FROM '${root}'`, webhook.url("/refuses"));
    // longer than a refused message would wait
    await createRule(t, `SELECT * FROM '${root}'`, webhook.url("/after"), {});
    const device = await connect(t);
    await device.publish(root, { n: 1 });
    await webhook.until("/refuses", 1);
    for (const n of [2, 3]) {
      await device.publish(root, { n });
      await webhook.until("/after", n);
    }
    assert.deepEqual((await webhook.until("/refuses", 3)).map(({ body }) => JSON.parse(body).n), [1, 2, 3]);
  });

  test("a deleted rule is not applied any more", async (t) => {
    const [webhook, root] = [await startWebhook(t), unique("rule")];
    const gone = await createRule(t, `SELECT * FROM '${root}'`, webhook.url("/gone"));
    await createRule(t, `SELECT * FROM '${root}'`, webhook.url("/stays"));
    const devices = await Promise.all(Array.from({ length: 6 }, () => connect(t)));
    await devices[0].publish(root, {});
    await webhook.until("/gone");
    await iot.send(new DeleteTopicRuleCommand({ ruleName: gone }));
    await Promise.all(devices.map((device) => device.publish(root, {})));
    await webhook.until("/stays", 1 + devices.length);
    assert.equal(webhook.on("/gone").length, 1);
    await assert.rejects(iot.send(new GetTopicRuleCommand({ ruleName: gone })), UnauthorizedException);
  });

  test("a disabled rule is stored and not applied", async (t) => {
    const [webhook, root] = [await startWebhook(t), unique("rule")];
    const ruleName = await createRule(t, `SELECT * FROM '${root}'`, webhook.url("/disabled"), { ruleDisabled: true });
    await createRule(t, `SELECT * FROM '${root}'`, webhook.url("/enabled"));
    const device = await connect(t);
    await device.publish(root, {});
    await webhook.until("/enabled");
    assert.equal(webhook.on("/disabled").length, 0);
    assert.equal((await iot.send(new GetTopicRuleCommand({ ruleName }))).rule.ruleDisabled, true);
  });

  test("basic ingest goes to the rule it names and to no subscriber", async (t) => {
    const [webhook, root] = [await startWebhook(t), unique("ingest")];
    const ruleName = await createRule(t, `SELECT *, topic() AS topic FROM '${root}/x'`, webhook.url("/ingested"));
    await createRule(t, `SELECT * FROM '${root}/x'`, webhook.url("/other"));
    const [device, observer] = await Promise.all([connect(t), connect(t)]);
    await observer.subscribe([`${root}/#`, "$aws/#"]);
    await device.publish(`$aws/rules/${ruleName}/${root}/x`, { n: 1 });
    assert.deepEqual((await webhook.until("/ingested")).map(({ body }) => JSON.parse(body)), [{ n: 1, topic: `${root}/x` }]);
    await device.publish(`${root}/x`, { n: 2 });
    await observer.next(`${root}/x`);
    await webhook.until("/ingested", 2);
    assert.deepEqual((await webhook.until("/other")).map(({ body }) => JSON.parse(body).n), [2]);
    assert.deepEqual(observer.inbox.filter(({ topic }) => topic.includes(root)), []);
  });

  test("a rule sees the shadow updates that were accepted, by MQTT and by HTTPS", async (t) => {
    const [webhook, thingName] = [await startWebhook(t), unique("thing")];
    const sql = `SELECT state.reported.temp AS temp, version, topic(3) AS thing FROM '$aws/things/+/shadow/update/accepted' WHERE topic(3) = '${thingName}'`;
    await createRule(t, sql, webhook.url("/shadow"));
    const device = await connect(t);
    const shadow = `$aws/things/${thingName}/shadow`;
    await device.publish(`${shadow}/update`, { state: { reported: { temp: 1 } } });
    await webhook.until("/shadow", 1);
    await device.publish(`${shadow}/update`, { state: { reported: { temp: 2 } }, version: 99 });
    await iotData.send(new UpdateThingShadowCommand({ thingName, payload: encode({ state: { reported: { temp: 3 } } }) }));
    const outputs = (await webhook.until("/shadow", 2)).map(({ body }) => JSON.parse(body));
    assert.deepEqual(outputs, [{ temp: 1, version: 1, thing: thingName }, { temp: 3, version: 2, thing: thingName }]);
  });

  test("a client cannot publish what only the platform says, to deceive such a rule", async (t) => {
    const device = await connect(t);
    const topic = `$aws/things/${unique("thing")}/shadow/update/accepted`;
    await assert.rejects(device.publish(topic, {}), (error) => error.code === 0x87);
  });

  test("SQL that cannot be read is a SqlParseException that says where", async () => {
    for (const [sql, position] of [
      ["SELECT temp FROM 'a' WHERE", /at line 1, column \d+/],
      ["SELECT temp\nFROM 'a'\nWHERE temp >", /at line 3, column \d+/],
      ["SELEKT temp FROM 'a'", /at line 1, column 1/],
      ["", /at line 1, column 1/],
    ]) {
      const topicRulePayload = { sql, actions: [{ http: { url: "https://example.com/" } }] };
      await assert.rejects(iot.send(new CreateTopicRuleCommand({ ruleName: uniqueRule(), topicRulePayload })), (error) => {
        assert.ok(error instanceof SqlParseException, `${JSON.stringify(sql)}: ${error.name}: ${error.message}`);
        assert.match(error.message, position);
        return error.$metadata.httpStatusCode === 400;
      });
    }
  });

  test("an action that is not there is refused by its name, and a name is taken once", async (t) => {
    const [webhook, ruleName] = [await startWebhook(t), uniqueRule()];
    const lambda = { functionArn: "arn:aws:lambda:us-east-1:123456789012:function:f" };
    const refused = { ruleName, topicRulePayload: { sql: "SELECT * FROM 'a'", actions: [{ lambda }] } };
    await assert.rejects(iot.send(new CreateTopicRuleCommand(refused)), (error) => error instanceof InvalidRequestException && /lambda/.test(error.message));
    const topic = unique("rule");
    await createRule(t, `SELECT * FROM '${topic}'`, webhook.url("/first"), { ruleName });
    const again = { ruleName, topicRulePayload: { sql: `SELECT 1 AS b FROM '${topic}'`, actions: [{ http: { url: webhook.url("/second") } }] } };
    await assert.rejects(iot.send(new CreateTopicRuleCommand(again)), ResourceAlreadyExistsException);
    const { rules } = await iot.send(new ListTopicRulesCommand({ topic }));
    assert.deepEqual(rules.map((rule) => rule.ruleName), [ruleName]);
  });
});

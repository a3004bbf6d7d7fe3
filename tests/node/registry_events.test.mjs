// What clients hear of changes in the registry, and what they may do by the groups and types of their things.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import * as sdk from "@aws-sdk/client-iot";
import { device, document, verified } from "./support/device.mjs";
import { connect, open } from "./support/mqtt.mjs";
import { contract, iot, unique, within } from "./support/platform.mjs";

const call = (name, input = {}) => iot.send(new sdk[`${name}Command`](input));
const arn = (kind, name) => `arn:aws:iot:${contract.region}:${contract.accountId}:${kind}/${name}`;
const EVERYTHING = ["THING", "THING_GROUP", "THING_TYPE", "THING_GROUP_MEMBERSHIP", "THING_GROUP_HIERARCHY", "THING_TYPE_ASSOCIATION"];

suite("Registry events", () => {
  test("every change is told on its topic while its type is switched on", async (t) => {
    const before = (await call("DescribeEventConfigurations")).eventConfigurations;
    assert.deepEqual(Object.keys(before).length, 11);
    await call("UpdateEventConfigurations", { eventConfigurations: Object.fromEntries(EVERYTHING.map((name) => [name, { Enabled: true }])) });
    t.after(() => call("UpdateEventConfigurations", { eventConfigurations: Object.fromEntries(EVERYTHING.map((name) => [name, { Enabled: false }])) }));
    const client = await connect(t);
    const [thingName, thingTypeName, site, room] = ["thing", "type", "site", "room"].map(unique);
    for (const filter of [
      `$aws/events/thing/${thingName}/#`,
      `$aws/events/thingType/${thingTypeName}/#`,
      `$aws/events/thingTypeAssociation/thing/${thingName}/#`,
      `$aws/events/thingGroup/${site}/#`,
      `$aws/events/thingGroup/${room}/#`,
      `$aws/events/thingGroupMembership/thingGroup/${room}/#`,
      `$aws/events/thingGroupHierarchy/thingGroup/${site}/#`,
    ]) {
      await client.subscribe(filter);
    }
    await call("CreateThingType", { thingTypeName, thingTypeProperties: { searchableAttributes: ["a"] } });
    const { thingId } = await call("CreateThing", { thingName, thingTypeName, attributePayload: { attributes: { a: "1" } } });
    const told = await client.nextJson(`$aws/events/thing/${thingName}/created`);
    assert.match(told.eventId, /^[0-9a-f-]{36}$/);
    assert.ok(Math.abs(told.timestamp - Date.now()) < 600_000);
    const { eventId, timestamp, ...rest } = told;
    assert.deepEqual(rest, {
      eventType: "THING_EVENT", operation: "CREATED", accountId: contract.accountId, thingId, thingName,
      versionNumber: 1, thingTypeName, billingGroupName: null, attributes: { a: "1" },
    });
    const association = await client.nextJson(`$aws/events/thingTypeAssociation/thing/${thingName}/thingType/${thingTypeName}/added`);
    assert.deepEqual([association.eventType, association.thingId], ["THING_TYPE_ASSOCIATION_EVENT", thingId]);
    const type = await client.nextJson(`$aws/events/thingType/${thingTypeName}/created`);
    assert.deepEqual([type.isDeprecated, type.searchableAttributes], [false, ["a"]]);

    const { thingGroupId } = await call("CreateThingGroup", { thingGroupName: site });
    await call("CreateThingGroup", { thingGroupName: room, parentGroupName: site });
    const group = await client.nextJson(`$aws/events/thingGroup/${room}/created`);
    assert.deepEqual([group.parentGroupName, group.parentGroupId], [site, thingGroupId]);
    assert.deepEqual(group.rootToParentThingGroups, [{ groupArn: arn("thinggroup", site), groupId: thingGroupId }]);
    await client.next(`$aws/events/thingGroupHierarchy/thingGroup/${site}/childThingGroup/${room}/added`);
    await call("AddThingToThingGroup", { thingGroupName: room, thingName });
    const added = await client.nextJson(`$aws/events/thingGroupMembership/thingGroup/${room}/thing/${thingName}/added`);
    assert.deepEqual([added.operation, added.thingId], ["ADDED", thingId]);
    await call("RemoveThingFromThingGroup", { thingGroupName: room, thingName });
    const removed = await client.nextJson(`$aws/events/thingGroupMembership/thingGroup/${room}/thing/${thingName}/removed`);
    assert.equal(removed.membershipId, added.membershipId);
    await call("UpdateThing", { thingName, removeThingType: true });
    assert.equal((await client.nextJson(`$aws/events/thing/${thingName}/updated`)).versionNumber, 2);
    await client.next(`$aws/events/thingTypeAssociation/thing/${thingName}/thingType/${thingTypeName}/removed`);
    await call("DeleteThing", { thingName });
    await client.next(`$aws/events/thing/${thingName}/deleted`);
    await call("DeprecateThingType", { thingTypeName });
    assert.equal((await client.nextJson(`$aws/events/thingType/${thingTypeName}/updated`)).isDeprecated, true);
    await call("DeleteThingType", { thingTypeName });
    await client.next(`$aws/events/thingType/${thingTypeName}/deleted`);
    await call("DeleteThingGroup", { thingGroupName: room });
    await client.next(`$aws/events/thingGroup/${room}/deleted`);
    await client.next(`$aws/events/thingGroupHierarchy/thingGroup/${site}/childThingGroup/${room}/removed`);

    await call("UpdateEventConfigurations", { eventConfigurations: { THING_GROUP: { Enabled: false } } });
    await call("CreateThingType", { thingTypeName: unique("type") });
    await call("DeleteThingGroup", { thingGroupName: site });
    await client.next(`$aws/events/thingGroup/${site}/created`);
    await client.publish("registry/end", "x");
    assert.deepEqual(client.texts(`$aws/events/thingGroup/${site}/deleted`), []);
  });
});

/** A thing with a certificate, and its client's options. */
async function thingWithDevice(t, statements = [["Allow", "Connect", "client/${iot:ClientId}"]], input = {}) {
  const thingName = unique("thing");
  await call("CreateThing", { thingName, ...input });
  // hooks run in this order, and a certificate that a thing has can't be deleted
  let principal;
  t.after(() => call("DetachThingPrincipal", { thingName, principal }));
  const { fingerprint, arn: registered } = await device(t, statements);
  principal = registered;
  await call("AttachThingPrincipal", { thingName, principal });
  return { thingName, options: { clientId: thingName, ...verified(fingerprint) } };
}

/** A policy for topics below this name. */
async function policyFor(name) {
  const policyName = unique("policy");
  const policyDocument = document([
    ["Allow", "Publish", `topic/${name}/*`],
    ["Allow", "Subscribe", `topicfilter/${name}/*`],
    ["Allow", "Receive", `topic/${name}/*`],
  ]);
  await call("CreatePolicy", { policyName, policyDocument });
  return policyName;
}

suite("Policies of thing groups", { concurrency: true }, () => {
  test("a device has what its thing's groups and those above them are allowed", async (t) => {
    const { thingName, options } = await thingWithDevice(t);
    const [site, room] = [unique("site"), unique("room")];
    await call("CreateThingGroup", { thingGroupName: site });
    await call("CreateThingGroup", { thingGroupName: room, parentGroupName: site });
    await call("AddThingToThingGroup", { thingGroupName: room, thingName });
    await call("AttachPolicy", { policyName: await policyFor(site), target: arn("thinggroup", site) });
    await call("AttachPolicy", { policyName: await policyFor(room), target: arn("thinggroup", room) });
    const client = await connect(t, options);
    for (const name of [site, room]) {
      await client.subscribe(`${name}/a`);
      await client.publish(`${name}/a`, "1");
      await client.next(`${name}/a`);
    }
    const granted = await client.mqtt.subscribeAsync(`${unique("other")}/a`, { qos: 1 }).catch((error) => error);
    assert.ok(granted instanceof Error || granted[0].qos >= 128);
  });

  test("what a group is allowed holds for connected devices within seconds, and ends with their membership", async (t) => {
    const { thingName, options } = await thingWithDevice(t);
    const thingGroupName = unique("group");
    await call("CreateThingGroup", { thingGroupName });
    const policyName = await policyFor(thingGroupName);
    const client = await connect(t, options);
    const refused = async () => {
      const granted = await client.mqtt.subscribeAsync(`${thingGroupName}/a`, { qos: 1 }).catch(() => [{ qos: 135 }]);
      return granted[0].qos >= 128;
    };
    const becomes = async (expected) => {
      const deadline = Date.now() + 15_000;
      while ((await refused()) !== expected) {
        assert.ok(Date.now() < deadline, `refused did not become ${expected}`);
        await client.unsubscribe(`${thingGroupName}/a`).catch(() => {});
      }
      await client.unsubscribe(`${thingGroupName}/a`).catch(() => {});
    };
    assert.equal(await refused(), true);
    await call("AddThingToThingGroup", { thingGroupName, thingName });
    await call("AttachPolicy", { policyName, target: arn("thinggroup", thingGroupName) });
    await becomes(false);
    await call("RemoveThingFromThingGroup", { thingGroupName, thingName });
    await becomes(true);
    await call("AddThingToThingGroup", { thingGroupName, thingName });
    await becomes(false);
    await call("DetachPolicy", { policyName, target: arn("thinggroup", thingGroupName) });
    await becomes(true);
  });

  test("a policy cannot be attached to a group that is not there", async () => {
    const policyName = await policyFor(unique("none"));
    await assert.rejects(call("AttachPolicy", { policyName, target: arn("thinggroup", unique("none")) }), sdk.ResourceNotFoundException);
  });

  test("policies of a group and of those above it are told", async () => {
    const [site, room] = [unique("site"), unique("room")];
    await call("CreateThingGroup", { thingGroupName: site });
    await call("CreateThingGroup", { thingGroupName: room, parentGroupName: site });
    const [above, own] = [await policyFor(site), await policyFor(room)];
    await call("AttachPolicy", { policyName: above, target: arn("thinggroup", site) });
    await call("AttachPolicy", { policyName: own, target: arn("thinggroup", room) });
    const target = arn("thinggroup", room);
    const names = async (input) => (await call("ListAttachedPolicies", { target, ...input })).policies.map((one) => one.policyName).sort();
    assert.deepEqual(await names({}), [own]);
    assert.deepEqual(await names({ recursive: true }), [above, own].sort());
    const thingName = unique("thing");
    await call("CreateThing", { thingName });
    await call("AddThingToThingGroup", { thingGroupName: room, thingName });
    const { effectivePolicies } = await call("GetEffectivePolicies", { thingName });
    assert.deepEqual(effectivePolicies.map((one) => one.policyName), [above, own].sort());
  });
});

suite("Propagating attributes", () => {
  test("messages of a thing get the attributes that its type propagates", async (t) => {
    const thingTypeName = unique("type");
    const propagatingAttributes = [
      { userPropertyKey: "room", thingAttribute: "location" },
      { thingAttribute: "firmware" },
      { userPropertyKey: "client", connectionAttribute: "iot:ClientId" },
      { userPropertyKey: "missing", thingAttribute: "nothing" },
    ];
    await call("CreateThingType", { thingTypeName, thingTypeProperties: { mqtt5Configuration: { propagatingAttributes } } });
    const topic = unique("topic");
    const statements = [["Allow", "Connect", "client/${iot:ClientId}"], ["Allow", "Publish", `topic/${topic}`]];
    const input = { thingTypeName, attributePayload: { attributes: { location: "hall", firmware: "2.1" } } };
    const { thingName, options } = await thingWithDevice(t, statements, input);
    const listener = await connect(t);
    await listener.subscribe(topic);
    for (const protocolVersion of [5, 4]) {
      const publisher = await connect(t, { ...options, protocolVersion });
      await publisher.publish(topic, "x", { qos: 1, ...(protocolVersion === 5 ? { properties: { userProperties: { own: "1" } } } : {}) });
      const { packet } = await listener.next(topic);
      const expected = { room: "hall", firmware: "2.1", client: thingName };
      assert.deepEqual({ ...packet.properties.userProperties }, protocolVersion === 5 ? { own: "1", ...expected } : expected);
      await publisher.end();
    }
    const publisher = await connect(t, options);
    await call("UpdateThing", { thingName, attributePayload: { attributes: { location: "roof" }, merge: true } });
    const changed = async () => {
      for (;;) {
        await publisher.publish(topic, "x");
        if ((await listener.next(topic)).packet.properties.userProperties.room === "roof") return;
      }
    };
    await within(changed(), "the new attribute");
  });
});

suite("Connectivity", () => {
  test("a thing is connected while the client of its name is", async (t) => {
    const thingName = unique("thing");
    await assert.rejects(call("GetThingConnectivityData", { thingName }), sdk.ResourceNotFoundException);
    await call("CreateThing", { thingName });
    assert.equal((await call("GetThingConnectivityData", { thingName })).connected, false);
    const client = open(t, { clientId: thingName });
    await client.connected();
    const connected = await call("GetThingConnectivityData", { thingName });
    assert.ok(connected.connected && Math.abs(connected.timestamp.getTime() - Date.now()) < 600_000);
    await client.end();
    const gone = async () => {
      for (;;) {
        const data = await call("GetThingConnectivityData", { thingName });
        if (!data.connected) return data;
      }
    };
    assert.equal((await within(gone(), "the end of the connection")).disconnectReason, "CLIENT_INITIATED_DISCONNECT");
  });
});

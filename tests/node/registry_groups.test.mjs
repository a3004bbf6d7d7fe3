// Thing types, thing groups, billing groups, tags, events and settings, with AWS's SDK.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import * as sdk from "@aws-sdk/client-iot";
import { contract, iot, unique } from "./support/platform.mjs";

/** Calls an operation by its name. */
const call = (name, input = {}) => iot.send(new sdk[`${name}Command`](input));
const arn = (kind, name) => `arn:aws:iot:${contract.region}:${contract.accountId}:${kind}/${name}`;
const names = (list) => list.map(({ groupName }) => groupName);

/** All pages of a list. */
async function all(operation, member, input = {}) {
  const found = [];
  let nextToken;
  do {
    const page = await call(operation, { ...input, maxResults: 2, nextToken });
    found.push(...page[member]);
    nextToken = page.nextToken;
  } while (nextToken);
  return found;
}

const created = async (operation, member, input = {}) => {
  const name = unique(member);
  await call(operation, { [member]: name, ...input });
  return name;
};
const thing = (input) => created("CreateThing", "thingName", input);
const thingType = (input) => created("CreateThingType", "thingTypeName", input);
const group = (input) => created("CreateThingGroup", "thingGroupName", input);
const billingGroup = (input) => created("CreateBillingGroup", "billingGroupName", input);

suite("Thing types", { concurrency: true }, () => {
  test("a thing type is created, described, listed, changed, deprecated and deleted", async () => {
    const thingTypeName = unique("type");
    const thingTypeProperties = { thingTypeDescription: "a lamp", searchableAttributes: ["colour"] };
    const first = await call("CreateThingType", { thingTypeName, thingTypeProperties });
    assert.equal(first.thingTypeArn, arn("thingtype", thingTypeName));
    const again = await call("CreateThingType", { thingTypeName, thingTypeProperties });
    assert.equal(again.thingTypeId, first.thingTypeId);
    await assert.rejects(call("CreateThingType", { thingTypeName }), sdk.ResourceAlreadyExistsException);
    const described = await call("DescribeThingType", { thingTypeName });
    assert.deepEqual(described.thingTypeProperties, thingTypeProperties);
    assert.equal(described.thingTypeMetadata.deprecated, false);
    assert.ok(Date.now() - described.thingTypeMetadata.creationDate.getTime() < 600_000);
    await call("UpdateThingType", { thingTypeName, thingTypeProperties: { thingTypeDescription: "a lamp, blue" } });
    const changed = await call("DescribeThingType", { thingTypeName });
    assert.deepEqual(changed.thingTypeProperties, { ...thingTypeProperties, thingTypeDescription: "a lamp, blue" });
    const { thingTypes } = await call("ListThingTypes", { thingTypeName });
    assert.deepEqual(thingTypes.map((one) => one.thingTypeName), [thingTypeName]);
    await assert.rejects(call("DeleteThingType", { thingTypeName }), sdk.InvalidRequestException);
    await call("DeprecateThingType", { thingTypeName });
    assert.ok((await call("DescribeThingType", { thingTypeName })).thingTypeMetadata.deprecationDate);
    await assert.rejects(call("CreateThing", { thingName: unique("thing"), thingTypeName }), sdk.InvalidRequestException);
    await call("DeprecateThingType", { thingTypeName, undoDeprecate: true });
    const thingName = await thing({ thingTypeName });
    await call("DeprecateThingType", { thingTypeName });
    await assert.rejects(call("DeleteThingType", { thingTypeName }), sdk.InvalidRequestException);
    await call("UpdateThing", { thingName, removeThingType: true });
    await call("DeleteThingType", { thingTypeName });
    await assert.rejects(call("DescribeThingType", { thingTypeName }), sdk.ResourceNotFoundException);
  });

  test("things are listed by their type", async () => {
    const thingTypeName = await thingType();
    const names = [await thing({ thingTypeName }), await thing({ thingTypeName })].sort();
    const other = await thing();
    assert.deepEqual((await all("ListThings", "things", { thingTypeName })).map((one) => one.thingName), names);
    await call("UpdateThing", { thingName: other, thingTypeName });
    assert.equal((await call("DescribeThing", { thingName: other })).thingTypeName, thingTypeName);
    await assert.rejects(call("UpdateThing", { thingName: other, thingTypeName: unique("none") }), sdk.ResourceNotFoundException);
    await assert.rejects(call("CreateThing", { thingName: unique("t"), thingTypeName: unique("none") }), sdk.ResourceNotFoundException);
  });

  test("lists of types come page by page", async () => {
    const mine = new Set([await thingType(), await thingType(), await thingType()]);
    const listed = (await all("ListThingTypes", "thingTypes")).map((one) => one.thingTypeName);
    assert.equal(listed.filter((name) => mine.has(name)).length, 3);
    assert.equal(new Set(listed).size, listed.length);
  });
});

suite("Thing groups", { concurrency: true }, () => {
  test("a hierarchy is created, described, listed and deleted from below", async () => {
    const site = await group({ thingGroupProperties: { thingGroupDescription: "a site", attributePayload: { attributes: { a: "1" } } } });
    const floor = await group({ parentGroupName: site });
    const room = await group({ parentGroupName: floor });
    const described = await call("DescribeThingGroup", { thingGroupName: room });
    assert.equal(described.thingGroupArn, arn("thinggroup", room));
    assert.equal(described.thingGroupMetadata.parentGroupName, floor);
    assert.deepEqual(described.thingGroupMetadata.rootToParentThingGroups, [
      { groupName: site, groupArn: arn("thinggroup", site) },
      { groupName: floor, groupArn: arn("thinggroup", floor) },
    ]);
    const root = await call("DescribeThingGroup", { thingGroupName: site });
    assert.equal(root.thingGroupProperties.thingGroupDescription, "a site");
    assert.deepEqual(root.thingGroupProperties.attributePayload.attributes, { a: "1" });
    assert.deepEqual(names(await all("ListThingGroups", "thingGroups", { parentGroup: site })), [floor, room]);
    assert.deepEqual(names(await all("ListThingGroups", "thingGroups", { parentGroup: site, recursive: false })), [floor]);
    assert.deepEqual(names(await all("ListThingGroups", "thingGroups", { namePrefixFilter: room })), [room]);
    const roots = names(await all("ListThingGroups", "thingGroups", { recursive: false }));
    assert.ok(roots.includes(site) && !roots.includes(floor));
    await assert.rejects(call("ListThingGroups", { parentGroup: unique("none") }), sdk.ResourceNotFoundException);
    await assert.rejects(call("DeleteThingGroup", { thingGroupName: floor }), sdk.InvalidRequestException);
    for (const thingGroupName of [room, floor, site]) await call("DeleteThingGroup", { thingGroupName });
    await call("DeleteThingGroup", { thingGroupName: site });
    await assert.rejects(call("DescribeThingGroup", { thingGroupName: site }), sdk.ResourceNotFoundException);
  });

  test("the same group again is the same group, and another of its name is refused", async () => {
    const thingGroupName = unique("group");
    const first = await call("CreateThingGroup", { thingGroupName });
    assert.equal((await call("CreateThingGroup", { thingGroupName })).thingGroupId, first.thingGroupId);
    const thingGroupProperties = { thingGroupDescription: "other" };
    await assert.rejects(call("CreateThingGroup", { thingGroupName, thingGroupProperties }), sdk.ResourceAlreadyExistsException);
    await assert.rejects(call("CreateThingGroup", { thingGroupName: unique("g"), parentGroupName: unique("none") }), sdk.ResourceNotFoundException);
  });

  test("there are seven levels and no eighth", async () => {
    let parentGroupName;
    for (let level = 1; level <= 7; level += 1) parentGroupName = await group({ parentGroupName });
    await assert.rejects(group({ parentGroupName }), sdk.InvalidRequestException);
  });

  test("an update counts the version and heeds the expected one", async () => {
    const thingGroupName = await group();
    const thingGroupProperties = { attributePayload: { attributes: { a: "1" } } };
    assert.equal((await call("UpdateThingGroup", { thingGroupName, thingGroupProperties, expectedVersion: 1 })).version, 2);
    await assert.rejects(call("UpdateThingGroup", { thingGroupName, thingGroupProperties, expectedVersion: 1 }), sdk.VersionConflictException);
    await call("UpdateThingGroup", { thingGroupName, thingGroupProperties: { attributePayload: { attributes: { b: "2" }, merge: true } } });
    const { thingGroupProperties: stored, version } = await call("DescribeThingGroup", { thingGroupName });
    assert.deepEqual([stored.attributePayload.attributes, version], [{ a: "1", b: "2" }, 3]);
    await assert.rejects(call("DeleteThingGroup", { thingGroupName, expectedVersion: 1 }), sdk.VersionConflictException);
  });

  test("things come into groups and leave them, both ways of looking at it", async () => {
    const site = await group();
    const room = await group({ parentGroupName: site });
    const things = (await Promise.all([thing(), thing(), thing()])).sort();
    await call("AddThingToThingGroup", { thingGroupName: site, thingName: things[0] });
    await call("AddThingToThingGroup", { thingGroupArn: arn("thinggroup", room), thingArn: arn("thing", things[1]) });
    await call("AddThingToThingGroup", { thingGroupName: room, thingName: things[2] });
    await call("AddThingToThingGroup", { thingGroupName: room, thingName: things[2] });
    await call("AddThingToThingGroup", { thingGroupName: site, thingName: things[2] });
    const listed = (input) => all("ListThingsInThingGroup", "things", input);
    assert.deepEqual(await listed({ thingGroupName: room }), [things[1], things[2]]);
    assert.deepEqual(await listed({ thingGroupName: site }), [things[0], things[2]]);
    assert.deepEqual((await listed({ thingGroupName: site, recursive: true })).sort(), things);
    assert.deepEqual(names(await all("ListThingGroupsForThing", "thingGroups", { thingName: things[2] })), [site, room]);
    await call("RemoveThingFromThingGroup", { thingGroupName: site, thingName: things[2] });
    assert.deepEqual(names(await all("ListThingGroupsForThing", "thingGroups", { thingName: things[2] })), [room]);
    await call("UpdateThingGroupsForThing", { thingName: things[2], thingGroupsToAdd: [site], thingGroupsToRemove: [room] });
    assert.deepEqual(names(await all("ListThingGroupsForThing", "thingGroups", { thingName: things[2] })), [site]);
    await call("DeleteThing", { thingName: things[2] });
    assert.deepEqual(await listed({ thingGroupName: site }), [things[0]]);
    await call("DeleteThingGroup", { thingGroupName: room });
    assert.deepEqual((await call("ListThingGroupsForThing", { thingName: things[1] })).thingGroups, []);
    for (const [thingGroupName, thingName] of [[unique("none"), things[0]], [site, unique("none")]]) {
      await assert.rejects(call("AddThingToThingGroup", { thingGroupName, thingName }), sdk.ResourceNotFoundException);
      await assert.rejects(call("RemoveThingFromThingGroup", { thingGroupName, thingName }), sdk.ResourceNotFoundException);
    }
    await assert.rejects(call("AddThingToThingGroup", { thingGroupName: site }), sdk.InvalidRequestException);
  });
});

suite("Billing groups", { concurrency: true }, () => {
  test("a billing group is created, changed, listed and deleted, and its things stay", async () => {
    const billingGroupName = unique("billing");
    const billingGroupProperties = { billingGroupDescription: "one" };
    const first = await call("CreateBillingGroup", { billingGroupName, billingGroupProperties });
    assert.equal((await call("CreateBillingGroup", { billingGroupName, billingGroupProperties })).billingGroupId, first.billingGroupId);
    await assert.rejects(call("CreateBillingGroup", { billingGroupName }), sdk.ResourceAlreadyExistsException);
    const update = { billingGroupName, billingGroupProperties: { billingGroupDescription: "two" } };
    assert.equal((await call("UpdateBillingGroup", { ...update, expectedVersion: 1 })).version, 2);
    await assert.rejects(call("UpdateBillingGroup", { ...update, expectedVersion: 1 }), sdk.VersionConflictException);
    const described = await call("DescribeBillingGroup", { billingGroupName });
    assert.deepEqual([described.billingGroupProperties, described.version], [{ billingGroupDescription: "two" }, 2]);
    const thingName = await thing({ billingGroupName });
    assert.equal((await call("DescribeThing", { thingName })).billingGroupName, billingGroupName);
    assert.deepEqual(await all("ListThingsInBillingGroup", "things", { billingGroupName }), [thingName]);
    assert.deepEqual(names(await all("ListBillingGroups", "billingGroups", { namePrefixFilter: billingGroupName })), [billingGroupName]);
    await assert.rejects(call("DeleteBillingGroup", { billingGroupName, expectedVersion: 1 }), sdk.VersionConflictException);
    await call("DeleteBillingGroup", { billingGroupName });
    assert.equal((await call("DescribeThing", { thingName })).billingGroupName, undefined);
    await assert.rejects(call("DescribeBillingGroup", { billingGroupName }), sdk.ResourceNotFoundException);
  });

  test("a thing is in one billing group at a time", async () => {
    const [first, second, thingName] = await Promise.all([billingGroup(), billingGroup(), thing()]);
    await call("AddThingToBillingGroup", { billingGroupName: first, thingName });
    await call("AddThingToBillingGroup", { billingGroupArn: arn("billinggroup", second), thingName });
    assert.deepEqual(await all("ListThingsInBillingGroup", "things", { billingGroupName: first }), []);
    await call("RemoveThingFromBillingGroup", { billingGroupName: first, thingName });
    assert.equal((await call("DescribeThing", { thingName })).billingGroupName, second);
    await call("RemoveThingFromBillingGroup", { billingGroupName: second, thingName });
    assert.equal((await call("DescribeThing", { thingName })).billingGroupName, undefined);
    await assert.rejects(call("AddThingToBillingGroup", { billingGroupName: unique("none"), thingName }), sdk.ResourceNotFoundException);
    await assert.rejects(call("CreateThing", { thingName: unique("t"), billingGroupName: unique("none") }), sdk.ResourceNotFoundException);
  });
});

suite("Tags", { concurrency: true }, () => {
  const tagsOf = async (resourceArn) => {
    const tags = [];
    let nextToken;
    do {
      const page = await call("ListTagsForResource", { resourceArn, nextToken });
      tags.push(...page.tags);
      nextToken = page.nextToken;
    } while (nextToken);
    return Object.fromEntries(tags.map(({ Key, Value }) => [Key, Value]));
  };
  const list = (tags) => Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));

  test("what is created with tags has them, and gets others and loses some", async () => {
    const tags = list({ team: "a", site: "b" });
    const made = [
      ["thingtype", await thingType({ tags })],
      ["thinggroup", await group({ tags })],
      ["billinggroup", await billingGroup({ tags })],
      ["policy", await created("CreatePolicy", "policyName", { tags, policyDocument: JSON.stringify({ Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: "iot:Connect", Resource: "*" }] }) })],
    ];
    for (const [kind, name] of made) {
      const resourceArn = arn(kind, name);
      assert.deepEqual(await tagsOf(resourceArn), { team: "a", site: "b" }, kind);
      await call("TagResource", { resourceArn, tags: list({ team: "c", new: "" }) });
      await call("UntagResource", { resourceArn, tagKeys: ["site", "never"] });
      assert.deepEqual(await tagsOf(resourceArn), { team: "c", new: "" }, kind);
    }
  });

  test("tags go with what they are of", async () => {
    const thingGroupName = await group({ tags: list({ a: "1" }) });
    await call("DeleteThingGroup", { thingGroupName });
    await call("CreateThingGroup", { thingGroupName });
    assert.deepEqual(await tagsOf(arn("thinggroup", thingGroupName)), {});
  });

  test("there are no tags of what isn't there, of things, of AWS's own, and not too many", async () => {
    const resourceArn = arn("thinggroup", await group());
    await assert.rejects(call("TagResource", { resourceArn: arn("thinggroup", unique("none")), tags: [] }), sdk.ResourceNotFoundException);
    await assert.rejects(call("TagResource", { resourceArn: arn("thing", await thing()), tags: [] }), sdk.InvalidRequestException);
    await assert.rejects(call("TagResource", { resourceArn, tags: list({ "aws:x": "1" }) }), sdk.InvalidRequestException);
    const many = (from, to) => list(Object.fromEntries(Array.from({ length: to - from }, (_, n) => [`k${from + n}`, "v"])));
    await call("TagResource", { resourceArn, tags: many(0, 40) });
    await assert.rejects(call("TagResource", { resourceArn, tags: many(40, 60) }), sdk.InvalidRequestException);
    await call("TagResource", { resourceArn, tags: many(0, 50) });
    assert.equal(Object.keys(await tagsOf(resourceArn)).length, 50);
  });
});

suite("Settings", () => {
  test("logging options and levels are kept", async () => {
    await call("SetV2LoggingLevel", { logTarget: { targetType: "CLIENT_ID", targetName: "lamp" }, logLevel: "DEBUG" });
    await call("SetV2LoggingLevel", { logTarget: { targetType: "CLIENT_ID", targetName: "lamp" }, logLevel: "INFO" });
    await call("SetV2LoggingLevel", { logTarget: { targetType: "THING_GROUP", targetName: "site" }, logLevel: "WARN" });
    const { logTargetConfigurations } = await call("ListV2LoggingLevels", { targetType: "CLIENT_ID" });
    assert.deepEqual(logTargetConfigurations, [{ logTarget: { targetType: "CLIENT_ID", targetName: "lamp" }, logLevel: "INFO" }]);
    await call("DeleteV2LoggingLevel", { targetType: "CLIENT_ID", targetName: "lamp" });
    assert.equal((await call("ListV2LoggingLevels")).logTargetConfigurations.length, 1);
    await call("DeleteV2LoggingLevel", { targetType: "THING_GROUP", targetName: "site" });
    await assert.rejects(call("SetV2LoggingLevel", { logTarget: { targetType: "CLIENT_ID" }, logLevel: "INFO" }), sdk.InvalidRequestException);
    await call("SetLoggingOptions", { loggingOptionsPayload: { roleArn: "arn:aws:iam::123456789012:role/logs", logLevel: "WARN" } });
    assert.equal((await call("GetLoggingOptions")).logLevel, "WARN");
  });

  test("every endpoint is the one that was asked", async () => {
    const host = new URL(contract.endpoint).host;
    for (const endpointType of [undefined, "iot:Data-ATS", "iot:CredentialProvider", "iot:Jobs"]) {
      assert.equal((await call("DescribeEndpoint", { endpointType })).endpointAddress, host);
    }
    await assert.rejects(call("DescribeEndpoint", { endpointType: "iot:Other" }), sdk.InvalidRequestException);
  });

  test("a domain configuration is created, changed, listed and deleted", async () => {
    const domainConfigurationName = unique("domain");
    const authorizerConfig = { defaultAuthorizerName: "a", allowAuthorizerOverride: true };
    const made = await call("CreateDomainConfiguration", { domainConfigurationName, domainName: "iot.example.com", authorizerConfig });
    assert.match(made.domainConfigurationArn, new RegExp(`domainconfiguration/${domainConfigurationName}/[0-9a-f]{5}$`));
    await assert.rejects(call("CreateDomainConfiguration", { domainConfigurationName }), sdk.ResourceAlreadyExistsException);
    await call("UpdateDomainConfiguration", { domainConfigurationName, domainConfigurationStatus: "DISABLED", removeAuthorizerConfig: true });
    const described = await call("DescribeDomainConfiguration", { domainConfigurationName });
    assert.deepEqual([described.domainConfigurationStatus, described.authorizerConfig, described.domainName], ["DISABLED", undefined, "iot.example.com"]);
    await call("TagResource", { resourceArn: made.domainConfigurationArn, tags: [{ Key: "a", Value: "b" }] });
    assert.deepEqual((await call("ListTagsForResource", { resourceArn: made.domainConfigurationArn })).tags, [{ Key: "a", Value: "b" }]);
    let marker;
    const listed = [];
    do {
      const page = await call("ListDomainConfigurations", { pageSize: 1, marker });
      listed.push(...page.domainConfigurations.map((one) => one.domainConfigurationName));
      marker = page.nextMarker;
    } while (marker);
    assert.ok(listed.includes(domainConfigurationName));
    await call("DeleteDomainConfiguration", { domainConfigurationName });
    await assert.rejects(call("DeleteDomainConfiguration", { domainConfigurationName }), sdk.ResourceNotFoundException);
  });
});

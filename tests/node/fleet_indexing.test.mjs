// Fleet indexing with AWS's SDK. The configuration is one for the whole platform: this file leaves it off.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as sdk from "@aws-sdk/client-iot";
import { UpdateThingShadowCommand } from "@aws-sdk/client-iot-data-plane";
import { iot, iotData, unique } from "./support/platform.mjs";

/** Generous: a walk goes through everything that other tests have left, a queue waits a second for each message. */
const INDEX_MILLIS = 180_000;

/** Calls an operation by its name. */
const call = (name, input = {}) => iot.send(new sdk[`${name}Command`](input));
const search = (queryString, input = {}) => call("SearchIndex", { queryString, ...input });

/** Asks until `isThere` says so. */
async function until(what, ask, isThere) {
  const end = Date.now() + INDEX_MILLIS;
  for (;;) {
    const answer = await ask();
    if (isThere(answer)) return answer;
    if (Date.now() > end) throw new Error(`${what}: not within ${INDEX_MILLIS} ms, but ${JSON.stringify(answer)}`);
    await sleep(250);
  }
}

const active = (indexName) =>
  until(`${indexName} is active`, () => call("DescribeIndex", { indexName }), ({ indexStatus }) => indexStatus === "ACTIVE");
const configure = (thingIndexingConfiguration, thingGroupIndexingConfiguration) =>
  call("UpdateIndexingConfiguration", { thingIndexingConfiguration, thingGroupIndexingConfiguration });

/** The names of what a query finds, once they are these. */
const finds = (queryString, expected) => {
  const wanted = [...expected].sort();
  return until(
    queryString,
    async () => (await search(queryString)).things.map(({ thingName }) => thingName),
    (names) => JSON.stringify(names) === JSON.stringify(wanted),
  );
};

suite("Fleet indexing", () => {
  const fleet = unique("fleet");
  const type = unique("type");
  const group = unique("group");
  const name = (n) => `${fleet}-${n}`;
  const mine = `attributes.fleet:${fleet}`;
  const FLOORS = [1, 2, 3, 10];
  const all = FLOORS.map((_, n) => name(n));

  async function create(n, attributes = {}) {
    const attributePayload = { attributes: { fleet, floor: String(FLOORS[n]), colour: n % 2 ? "blue" : "red", ...attributes } };
    await call("CreateThing", { thingName: name(n), thingTypeName: n === 0 ? type : undefined, attributePayload });
  }

  before(async () => {
    await call("CreateThingType", { thingTypeName: type });
    await call("CreateThingGroup", {
      thingGroupName: group,
      thingGroupProperties: { thingGroupDescription: "all of them", attributePayload: { attributes: { fleet } } },
    });
    // Two are there before the index is, two come later.
    await create(0);
    await create(1);
    await iotData.send(
      new UpdateThingShadowCommand({ thingName: name(0), payload: JSON.stringify({ state: { reported: { battery: 40 } } }) }),
    );
  });

  after(async () => {
    await configure({ thingIndexingMode: "OFF" }, { thingGroupIndexingMode: "OFF" });
  });

  test("an index that is off is not there", async () => {
    await configure({ thingIndexingMode: "OFF" }, { thingGroupIndexingMode: "OFF" });
    const { thingIndexingConfiguration } = await call("GetIndexingConfiguration");
    assert.equal(thingIndexingConfiguration.thingIndexingMode, "OFF");
    assert.deepEqual((await call("ListIndices")).indexNames, []);
    await assert.rejects(search("*"), sdk.ResourceNotFoundException);
    await assert.rejects(call("DescribeIndex", { indexName: "AWS_Things" }), sdk.ResourceNotFoundException);
    await assert.rejects(call("GetStatistics", { queryString: "*" }), sdk.ResourceNotFoundException);
  });

  test("a configuration that contradicts itself is refused", async () => {
    const refused = configure({ thingIndexingMode: "OFF", thingConnectivityIndexingMode: "STATUS" });
    await assert.rejects(refused, sdk.InvalidRequestException);
  });

  test("an index is built from what there is", async () => {
    const customFields = [
      { name: "attributes.floor", type: "Number" },
      { name: "attributes.colour", type: "String" },
      { name: "shadow.reported.battery", type: "Number" },
    ];
    await configure(
      { thingIndexingMode: "REGISTRY_AND_SHADOW", thingConnectivityIndexingMode: "STATUS", customFields },
      { thingGroupIndexingMode: "ON" },
    );
    // The walk waits some seconds before it begins.
    assert.equal((await call("DescribeIndex", { indexName: "AWS_Things" })).indexStatus, "BUILDING");
    await assert.rejects(search("*"), sdk.IndexNotReadyException);
    const { schema } = await active("AWS_Things");
    assert.equal(schema, "REGISTRY_AND_SHADOW_AND_CONNECTIVITY_STATUS");
    assert.equal((await active("AWS_ThingGroups")).schema, "THING_GROUPS");
    assert.deepEqual((await call("ListIndices")).indexNames, ["AWS_ThingGroups", "AWS_Things"]);
    const { thingIndexingConfiguration } = await call("GetIndexingConfiguration");
    assert.deepEqual(thingIndexingConfiguration.customFields, customFields);
    assert.ok(thingIndexingConfiguration.managedFields.some((field) => field.name === "registry.version"));
    const { things } = await search(mine);
    assert.deepEqual(things.map(({ thingName }) => thingName), [name(0), name(1)]);
    const [first] = things;
    assert.deepEqual(first.attributes, { fleet, floor: "1", colour: "red" });
    assert.equal(first.thingTypeName, type);
    assert.equal(JSON.parse(first.shadow).reported.battery, 40);
    assert.equal(first.connectivity.connected, false);
  });

  test("what comes later is found by whatever it has", async () => {
    await create(2);
    await create(3);
    await finds(mine, all);
    for (const [query, expected] of [
      [`thingTypeName:${type}`, [0]],
      [`thingName:${fleet}-*`, [0, 1, 2, 3]],
      [`thingName:${name(2)}`, [2]],
      [`${mine} AND attributes.colour:blue`, [1, 3]],
      [`${mine} AND NOT attributes.colour:blue`, [0, 2]],
      [`${mine} AND attributes.floor>=3`, [2, 3]],
      [`${mine} AND attributes.floor:[2 TO 3]`, [1, 2]],
      [`${mine} AND (attributes.floor:1 OR attributes.floor:10)`, [0, 3]],
      [`${mine} AND shadow.reported.battery:*`, [0]],
      [`${mine} AND connectivity.connected:true`, []],
      [fleet, [0, 1, 2, 3]],
    ]) {
      const { things } = await search(query);
      assert.deepEqual(things.map(({ thingName }) => thingName), expected.map(name), query);
    }
  });

  test("what is found comes in pages", async () => {
    const found = [];
    let nextToken;
    do {
      const page = await search(mine, { maxResults: 3, nextToken });
      assert.ok(page.things.length <= 3);
      found.push(...page.things.map(({ thingName }) => thingName));
      nextToken = page.nextToken;
    } while (nextToken);
    assert.deepEqual(found, all);
    await assert.rejects(search(mine, { nextToken: "x" }), sdk.InvalidRequestException);
  });

  test("groups are found, and things by their groups", async () => {
    const { thingGroups } = await search(`attributes.fleet:${fleet}`, { indexName: "AWS_ThingGroups" });
    assert.deepEqual(thingGroups.map((one) => [one.thingGroupName, one.thingGroupDescription]), [[group, "all of them"]]);
    await call("AddThingToThingGroup", { thingGroupName: group, thingName: name(1) });
    await call("AddThingToThingGroup", { thingGroupName: group, thingName: name(2) });
    await finds(`thingGroupNames:${group}`, [name(1), name(2)]);
    await call("RemoveThingFromThingGroup", { thingGroupName: group, thingName: name(1) });
    await finds(`thingGroupNames:${group}`, [name(2)]);
    await call("DeleteThingGroup", { thingGroupName: group });
    await finds(`thingGroupNames:${group}`, []);
    await until(
      "the group is gone",
      () => search(`thingGroupName:${group}`, { indexName: "AWS_ThingGroups" }),
      (answer) => answer.thingGroups.length === 0,
    );
  });

  test("changes of attributes and shadows are found", async () => {
    await call("UpdateThing", { thingName: name(0), attributePayload: { attributes: { colour: "green" }, merge: true } });
    await finds(`${mine} AND attributes.colour:green`, [name(0)]);
    await iotData.send(
      new UpdateThingShadowCommand({ thingName: name(3), payload: JSON.stringify({ state: { reported: { battery: 90 } } }) }),
    );
    await finds(`${mine} AND shadow.reported.battery>50`, [name(3)]);
  });

  test("values are aggregated", async () => {
    const aggregationField = "attributes.floor";
    const { statistics } = await call("GetStatistics", { queryString: mine, aggregationField });
    assert.deepEqual([statistics.count, statistics.sum, statistics.minimum, statistics.maximum], [4, 16, 1, 10]);
    assert.equal(statistics.average, 4);
    assert.equal((await call("GetStatistics", { queryString: mine })).statistics.count, 4);
    assert.equal((await call("GetCardinality", { queryString: mine, aggregationField })).cardinality, 4);
    const { percentiles } = await call("GetPercentiles", { queryString: mine, aggregationField, percents: [0, 50, 100] });
    assert.deepEqual(percentiles, [
      { percent: 0, value: 1 },
      { percent: 50, value: 2.5 },
      { percent: 100, value: 10 },
    ]);
    const buckets = await call("GetBucketsAggregation", {
      queryString: mine,
      aggregationField: "attributes.colour",
      bucketsAggregationType: { termsAggregation: { maxBuckets: 2 } },
    });
    assert.equal(buckets.totalCount, 4);
    assert.deepEqual(buckets.buckets[0], { keyValue: "blue", count: 2 });
    assert.equal(buckets.buckets.length, 2);
  });

  test("queries and aggregations that make no sense are refused", async () => {
    await assert.rejects(search("attributes.floor:["), sdk.InvalidQueryException);
    await assert.rejects(search("*", { queryVersion: "1999-01-01" }), sdk.InvalidQueryException);
    await assert.rejects(search("*", { indexName: "AWS_Lamps" }), sdk.ResourceNotFoundException);
    const aggregate = (aggregationField) => call("GetPercentiles", { queryString: "*", aggregationField });
    await assert.rejects(aggregate("attributes.unknown"), sdk.InvalidAggregationException);
    await assert.rejects(aggregate("attributes.colour"), sdk.InvalidAggregationException);
  });

  test("a thing that is deleted is found no more", async () => {
    await call("DeleteThing", { thingName: name(3) });
    await finds(mine, all.slice(0, 3));
  });

  test("an index that is switched off and on again has what there is then", async () => {
    await configure({ thingIndexingMode: "OFF" });
    await assert.rejects(search("*"), sdk.ResourceNotFoundException);
    await call("DeleteThing", { thingName: name(2) });
    await configure({ thingIndexingMode: "REGISTRY" });
    await active("AWS_Things");
    await finds(mine, all.slice(0, 2));
    const { things } = await search(mine);
    assert.equal(things[0].shadow, undefined);
  });
});

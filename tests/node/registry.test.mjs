// Things, with AWS's SDK.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  CreateThingCommand,
  DeleteThingCommand,
  DescribeThingCommand,
  InvalidRequestException,
  ListThingsCommand,
  ResourceAlreadyExistsException,
  ResourceNotFoundException,
  UpdateThingCommand,
  VersionConflictException,
  paginateListThings,
} from "@aws-sdk/client-iot";
import { contract, iot, unique } from "./support/platform.mjs";

const create = (thingName, attributes) => iot.send(new CreateThingCommand({ thingName, attributePayload: attributes && { attributes } }));
const describe = (thingName) => iot.send(new DescribeThingCommand({ thingName }));
const update = (input) => iot.send(new UpdateThingCommand(input));
const remove = (thingName, expectedVersion) => iot.send(new DeleteThingCommand({ thingName, expectedVersion }));

const without$metadata = ({ $metadata, ...members }) => members;

suite("Things", { concurrency: true }, () => {
  test("a thing is created, described, updated, listed and deleted", async () => {
    const thingName = unique("thing");
    const thingArn = `arn:aws:iot:${contract.region}:${contract.accountId}:thing/${thingName}`;
    const created = await create(thingName, { site: thingName, floor: "2" });
    assert.equal(created.thingName, thingName);
    assert.equal(created.thingArn, thingArn);
    assert.match(created.thingId, /^[0-9a-f-]{36}$/);

    const described = without$metadata(await describe(thingName));
    const { thingId } = created;
    assert.deepEqual(described, { thingName, thingArn, thingId, defaultClientId: thingName, attributes: { site: thingName, floor: "2" }, version: 1 });

    await update({ thingName, attributePayload: { attributes: { floor: "3", room: "a" }, merge: true } });
    assert.deepEqual((await describe(thingName)).attributes, { site: thingName, floor: "3", room: "a" });
    await update({ thingName, attributePayload: { attributes: { site: thingName } } });
    const { attributes, version } = await describe(thingName);
    assert.deepEqual({ attributes, version }, { attributes: { site: thingName }, version: 3 });

    const { things } = await iot.send(new ListThingsCommand({ attributeName: "site", attributeValue: thingName }));
    assert.deepEqual(things, [{ thingName, thingArn, attributes: { site: thingName }, version: 3 }]);

    await remove(thingName);
    await assert.rejects(describe(thingName), ResourceNotFoundException);
  });

  test("creating the same thing again succeeds, another one of that name does not", async () => {
    const thingName = unique("thing");
    const first = await create(thingName, { a: "1" });
    const second = await create(thingName, { a: "1" });
    assert.deepEqual(without$metadata(second), without$metadata(first));
    await assert.rejects(create(thingName, { a: "2" }), (error) => {
      assert.ok(error instanceof ResourceAlreadyExistsException);
      assert.equal(error.$metadata.httpStatusCode, 409);
      assert.equal(error.resourceArn, first.thingArn);
      return true;
    });
    assert.equal((await describe(thingName)).version, 1);
  });

  test("of many who create one thing at once all get the same", async () => {
    const thingName = unique("thing");
    const created = await Promise.all(Array.from({ length: 8 }, () => create(thingName)));
    assert.equal(new Set(created.map(({ thingId }) => thingId)).size, 1);
  });

  test("a wrong expectedVersion is a conflict and changes nothing", async () => {
    const thingName = unique("thing");
    await create(thingName, { a: "1" });
    const attributePayload = { attributes: { a: "2" } };
    await assert.rejects(update({ thingName, attributePayload, expectedVersion: 2 }), (error) => {
      assert.ok(error instanceof VersionConflictException);
      return error.$metadata.httpStatusCode === 409;
    });
    await assert.rejects(remove(thingName, 7), VersionConflictException);
    assert.deepEqual((await describe(thingName)).attributes, { a: "1" });
    await update({ thingName, attributePayload, expectedVersion: 1 });
    await remove(thingName, 2);
  });

  test("of those who update one version at once exactly one succeeds", async () => {
    const thingName = unique("thing");
    await create(thingName);
    const race = ["a", "b", "c", "d"].map((writer) => update({ thingName, expectedVersion: 1, attributePayload: { attributes: { writer } } }));
    const outcomes = await Promise.allSettled(race);
    assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
    assert.ok(outcomes.every(({ reason }) => reason === undefined || reason instanceof VersionConflictException));
    assert.equal((await describe(thingName)).version, 2);
  });

  test("updates of one thing at once without expectedVersion all succeed, one version each", async () => {
    const thingName = unique("thing");
    await create(thingName);
    const names = ["a", "b", "c", "d"];
    await Promise.all(names.map((name) => update({ thingName, attributePayload: { attributes: { [name]: "x" }, merge: true } })));
    const { attributes, version } = await describe(thingName);
    assert.deepEqual({ names: Object.keys(attributes).sort(), version }, { names, version: 5 });
  });

  test("errors are the SDK's classes", async () => {
    const missing = unique("missing");
    await assert.rejects(describe(missing), (error) => {
      assert.ok(error instanceof ResourceNotFoundException);
      assert.match(error.message, new RegExp(missing));
      return error.$metadata.httpStatusCode === 404 && error.$metadata.requestId.length > 0;
    });
    await assert.rejects(update({ thingName: missing, attributePayload: { attributes: { a: "1" } } }), ResourceNotFoundException);
    for (const thingName of ["with space", "ä", "x".repeat(129)]) {
      await assert.rejects(create(thingName), (error) => {
        assert.ok(error instanceof InvalidRequestException, error.name);
        return error.$metadata.httpStatusCode === 400;
      });
    }
    await assert.rejects(iot.send(new ListThingsCommand({ maxResults: 251 })), InvalidRequestException);
    await assert.rejects(iot.send(new ListThingsCommand({ nextToken: "made-up" })), InvalidRequestException);
  });

  test("pages of 60 things have each of them once, while others come and go between the pages", async () => {
    const fleet = unique("fleet");
    const names = Array.from({ length: 60 }, (_, index) => `${fleet}-${String(index).padStart(2, "0")}-m`);
    await Promise.all(names.map((name) => create(name, { fleet })));
    const seen = [];
    let pages = 0;
    for await (const page of paginateListThings({ client: iot, pageSize: 7 }, { attributeName: "fleet", attributeValue: fleet })) {
      assert.ok(page.things.length <= 7);
      seen.push(...page.things.map(({ thingName }) => thingName));
      // before and after where the list is now, and one that is gone again
      const at = seen.at(-1).slice(0, -2);
      await Promise.all([create(`${fleet}-00-a${pages}`, { fleet }), create(`${at}-z${pages}`, { fleet }), create(`${at}-y${pages}`, { fleet })]);
      await remove(`${at}-y${pages}`);
      pages += 1;
    }
    assert.deepEqual(seen.filter((name) => name.endsWith("-m")), names);
    assert.equal(new Set(seen).size, seen.length);
    assert.ok(pages >= 9);
  });
});

// Shadows, by MQTT and by HTTPS with AWS's SDK.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  ConflictException,
  DeleteThingShadowCommand,
  GetThingShadowCommand,
  InvalidRequestException,
  ResourceNotFoundException,
  UpdateThingShadowCommand,
} from "@aws-sdk/client-iot-data-plane";
import { VERSIONS, connect, connectMany } from "./support/mqtt.mjs";
import { decode, encode, evictThing, iotData, unique } from "./support/platform.mjs";

const classic = (thingName) => `$aws/things/${thingName}/shadow`;
const named = (thingName, shadowName) => `${classic(thingName)}/name/${shadowName}`;

const update = async (thingName, document, shadowName) =>
  decode((await iotData.send(new UpdateThingShadowCommand({ thingName, shadowName, payload: encode(document) }))).payload);
const get = async (thingName, shadowName) => decode((await iotData.send(new GetThingShadowCommand({ thingName, shadowName }))).payload);
const remove = async (thingName, shadowName) => decode((await iotData.send(new DeleteThingShadowCommand({ thingName, shadowName }))).payload);

const aboutNow = (seconds) => assert.ok(Math.abs(seconds - Date.now() / 1000) < 60, `timestamp ${seconds}`);

for (const { version, protocolVersion } of VERSIONS) {
  suite(`By MQTT ${version}`, { concurrency: true }, () => {
    for (const [kind, shadowOf] of [
      ["classic", classic],
      ["named", (thingName) => named(thingName, "config")],
    ]) {
      test(`a ${kind} shadow is updated, read and deleted, and clientToken comes back`, async (t) => {
        const shadow = shadowOf(unique("thing"));
        const device = await connect(t, { protocolVersion });
        await device.subscribe([`${shadow}/+/accepted`, `${shadow}/+/rejected`]);

        await device.publish(`${shadow}/update`, { state: { reported: { temp: 21.5 } }, clientToken: "first" });
        const updated = await device.nextJson(`${shadow}/update/accepted`);
        aboutNow(updated.timestamp);
        aboutNow(updated.metadata.reported.temp.timestamp);
        assert.deepEqual(
          { state: updated.state, version: updated.version, clientToken: updated.clientToken },
          { state: { reported: { temp: 21.5 } }, version: 1, clientToken: "first" },
        );

        await device.publish(`${shadow}/update`, { state: { reported: { temp: null, unit: "C" } } });
        assert.equal((await device.nextJson(`${shadow}/update/accepted`)).version, 2);

        await device.publish(`${shadow}/get`, { clientToken: "second" });
        const got = await device.nextJson(`${shadow}/get/accepted`);
        assert.deepEqual({ state: got.state, version: got.version, clientToken: got.clientToken }, { state: { reported: { unit: "C" } }, version: 2, clientToken: "second" });

        await device.publish(`${shadow}/delete`, { clientToken: "third" });
        const deleted = await device.nextJson(`${shadow}/delete/accepted`);
        assert.deepEqual({ version: deleted.version, clientToken: deleted.clientToken }, { version: 2, clientToken: "third" });

        await device.publish(`${shadow}/get`, "");
        const rejected = await device.nextJson(`${shadow}/get/rejected`);
        assert.equal(rejected.code, 404);
        assert.match(rejected.message, /^No shadow exists with name: /);
        assert.deepEqual(device.inbox, []);
      });
    }

    test("desired that differs from reported is a delta, until the device has reported it", async (t) => {
      const shadow = classic(unique("thing"));
      const [app, device] = await connectMany(t, 2, { protocolVersion });
      await device.subscribe(`${shadow}/update/delta`);
      await app.subscribe(`${shadow}/update/accepted`);
      await app.publish(`${shadow}/update`, { state: { desired: { led: "on", level: 3 }, reported: { level: 3 } } });
      const delta = await device.nextJson(`${shadow}/update/delta`);
      assert.deepEqual({ state: delta.state, version: delta.version }, { state: { led: "on" }, version: 1 });
      await device.publish(`${shadow}/update`, { state: { reported: { led: "on" } } });
      await app.publish(`${shadow}/update`, { state: { desired: { level: 4 } } });
      // none came between the two
      assert.deepEqual((await device.nextJson(`${shadow}/update/delta`)).state, { level: 4 });
    });

    test("documents tells the whole state before and after", async (t) => {
      const shadow = classic(unique("thing"));
      const device = await connect(t, { protocolVersion });
      await device.subscribe(`${shadow}/update/documents`);
      await device.publish(`${shadow}/update`, { state: { reported: { a: 1 } } });
      await device.publish(`${shadow}/update`, { state: { reported: { b: 2 } } });
      const [first, second] = [await device.nextJson(`${shadow}/update/documents`), await device.nextJson(`${shadow}/update/documents`)];
      assert.equal(first.current.version, 1);
      assert.deepEqual([second.previous.state, second.previous.version], [{ reported: { a: 1 } }, 1]);
      assert.deepEqual([second.current.state, second.current.version], [{ reported: { a: 1, b: 2 } }, 2]);
    });

    test("a request that makes no sense is rejected with its code and changes nothing", async (t) => {
      const thingName = unique("thing");
      const shadow = classic(thingName);
      const device = await connect(t, { protocolVersion });
      await device.subscribe([`${shadow}/update/accepted`, `${shadow}/update/rejected`]);
      await device.publish(`${shadow}/update`, { state: { reported: { a: 1 } } });
      await device.next(`${shadow}/update/accepted`);
      for (const [payload, code, message] of [
        ["{", 400, "Invalid JSON"],
        ["{}", 400, "Missing required node: state"],
        [{ state: 1 }, 400, "State node must be an object"],
        [{ state: { desired: [] } }, 400, "Desired node must be an object"],
        [{ state: { reported: { a: 2 } }, version: 7, clientToken: "t" }, 409, "Version conflict"],
      ]) {
        await device.publish(`${shadow}/update`, payload);
        const rejected = await device.nextJson(`${shadow}/update/rejected`);
        assert.deepEqual({ code: rejected.code, message: rejected.message, clientToken: rejected.clientToken }, { code, message, clientToken: payload.clientToken });
      }
      const { state, version } = await get(thingName);
      assert.deepEqual({ state, version }, { state: { reported: { a: 1 } }, version: 1 });
    });
  });
}

suite("By HTTPS", { concurrency: true }, () => {
  test("a shadow is updated, read and deleted, and its version goes on after deletion", async () => {
    const thingName = unique("thing");
    assert.equal((await update(thingName, { state: { desired: { a: { b: 1 } } }, clientToken: "t" })).clientToken, "t");
    assert.equal((await update(thingName, { state: { desired: { a: { c: 2 } } }, version: 1 })).version, 2);
    assert.deepEqual((await get(thingName)).state.desired, { a: { b: 1, c: 2 } });
    assert.equal((await remove(thingName)).version, 2);
    await assert.rejects(get(thingName), ResourceNotFoundException);
    assert.equal((await update(thingName, { state: { reported: { a: 1 } } })).version, 3);
  });

  test("named shadows and the classic one do not know of each other", async () => {
    const thingName = unique("thing");
    await update(thingName, { state: { reported: { a: "classic" } } });
    await update(thingName, { state: { reported: { a: "one" } } }, "one");
    await update(thingName, { state: { reported: { a: "two" } } }, "two");
    await remove(thingName, "one");
    assert.equal((await get(thingName)).state.reported.a, "classic");
    await assert.rejects(get(thingName, "one"), ResourceNotFoundException);
    assert.equal((await get(thingName, "two")).state.reported.a, "two");
  });

  test("errors are the SDK's classes, with AWS's words", async () => {
    const thingName = unique("thing");
    await assert.rejects(get(thingName), (error) => {
      assert.ok(error instanceof ResourceNotFoundException);
      assert.equal(error.message, `No shadow exists with name: '${thingName}'`);
      return error.$metadata.httpStatusCode === 404;
    });
    await assert.rejects(remove(thingName), ResourceNotFoundException);
    await assert.rejects(update(thingName, {}), InvalidRequestException);
    await update(thingName, { state: { reported: { a: 1 } } });
    await assert.rejects(update(thingName, { state: { reported: { a: 2 } }, version: 9 }), (error) => {
      assert.ok(error instanceof ConflictException);
      return error.$metadata.httpStatusCode === 409;
    });
    assert.equal((await get(thingName)).state.reported.a, 1);
  });

  test("of writers that race for one version exactly one wins", async () => {
    const thingName = unique("thing");
    await update(thingName, { state: { reported: { round: 0 } } });
    for (let version = 1; version <= 5; version += 1) {
      const race = ["a", "b", "c", "d"].map((writer) => update(thingName, { state: { reported: { writer } }, version }));
      const outcomes = await Promise.allSettled(race);
      const winners = outcomes.filter(({ status }) => status === "fulfilled");
      assert.equal(winners.length, 1);
      assert.ok(outcomes.every(({ reason }) => reason === undefined || reason instanceof ConflictException));
      const { state, version: current } = await get(thingName);
      assert.equal(current, version + 1);
      assert.equal(state.reported.writer, winners[0].value.state.reported.writer);
    }
  });

  test("of two devices that race for one version by MQTT exactly one is accepted", async (t) => {
    const shadow = classic(unique("thing"));
    const devices = await connectMany(t, 2);
    const [observer] = devices;
    await observer.subscribe([`${shadow}/update/accepted`, `${shadow}/update/rejected`]);
    await observer.publish(`${shadow}/update`, { state: { reported: { a: 0 } } });
    await observer.next(`${shadow}/update/accepted`);
    await Promise.all(devices.map((device, index) => device.publish(`${shadow}/update`, { state: { reported: { a: index } }, version: 1 })));
    assert.equal((await observer.nextJson(`${shadow}/update/accepted`)).version, 2);
    assert.equal((await observer.nextJson(`${shadow}/update/rejected`)).code, 409);
  });

  test("changes are announced to devices as if they had come by MQTT, reads are not", async (t) => {
    const thingName = unique("thing");
    const shadow = classic(thingName);
    const [device] = await connectMany(t, 1);
    await device.subscribe(`${shadow}/#`);
    await update(thingName, { state: { desired: { led: "on" } }, clientToken: "from the API" });
    assert.equal((await device.nextJson(`${shadow}/update/accepted`)).clientToken, "from the API");
    assert.deepEqual((await device.nextJson(`${shadow}/update/delta`)).state, { led: "on" });
    assert.equal((await device.nextJson(`${shadow}/update/documents`)).current.version, 1);
    await get(thingName);
    await assert.rejects(update(thingName, {}));
    await remove(thingName);
    await device.next(`${shadow}/delete/accepted`);
    assert.deepEqual(device.inbox, []);
  });

  test("what one side writes the other side reads, also after the Thing's memory is gone", async (t) => {
    const thingName = unique("thing");
    const shadow = classic(thingName);
    const device = await connect(t);
    await device.subscribe([`${shadow}/update/accepted`, `${shadow}/get/accepted`]);
    await device.publish(`${shadow}/update`, { state: { reported: { from: "device" } } });
    await device.next(`${shadow}/update/accepted`);
    assert.equal((await get(thingName)).state.reported.from, "device");
    await update(thingName, { state: { desired: { from: "API" } } });
    await evictThing(thingName);
    await device.publish(`${shadow}/get`, "");
    const { state, version } = await device.nextJson(`${shadow}/get/accepted`);
    assert.deepEqual([state.desired.from, state.reported.from, state.delta.from, version], ["API", "device", "API", 2]);
  });
});

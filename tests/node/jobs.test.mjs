// A job from CreateJob to COMPLETED.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  CreateJobCommand,
  CreateThingCommand,
  DescribeJobCommand,
  InvalidRequestException,
  ListJobsCommand,
  ResourceAlreadyExistsException,
  ResourceNotFoundException,
} from "@aws-sdk/client-iot";
import { VERSIONS, connect } from "./support/mqtt.mjs";
import { PATIENCE_MILLIS, contract, fireCron, iot, unique } from "./support/platform.mjs";

const topics = (thingName) => `$aws/things/${thingName}/jobs`;

async function createThing() {
  const thingName = unique("thing");
  const { thingArn } = await iot.send(new CreateThingCommand({ thingName }));
  return { thingName, thingArn };
}

async function createJob(targets, document = { operation: "reboot" }) {
  const jobId = unique("job");
  await iot.send(new CreateJobCommand({ jobId, targets, document: JSON.stringify(document) }));
  return jobId;
}

const describeJob = async (jobId) => (await iot.send(new DescribeJobCommand({ jobId }))).job;

/** The Thing tells the Job of an outcome after it has answered the device; nothing outside shows when. */
async function untilStatus(jobId, status) {
  for (const deadline = Date.now() + PATIENCE_MILLIS; Date.now() < deadline; await sleep(20)) {
    const job = await describeJob(jobId);
    if (job.status === status) return job;
  }
  assert.fail(`${jobId} does not become ${status}`);
}

for (const { version, protocolVersion } of VERSIONS) {
  suite(`MQTT ${version}`, { concurrency: true }, () => {
    test("a job reaches a connected device, which does it, and is COMPLETED", async (t) => {
      const { thingName, thingArn } = await createThing();
      const jobs = topics(thingName);
      const device = await connect(t, { protocolVersion });
      await device.subscribe([`${jobs}/notify-next`, `${jobs}/notify`]);
      const document = { operation: "install", files: [{ url: "https://example.com/a", size: 1.5 }] };
      const jobId = await createJob([thingArn], document);
      assert.equal((await describeJob(jobId)).status, "IN_PROGRESS");
      await fireCron();

      const { execution: next } = await device.nextJson(`${jobs}/notify-next`);
      assert.deepEqual({ jobId: next.jobId, status: next.status, jobDocument: next.jobDocument }, { jobId, status: "QUEUED", jobDocument: document });
      assert.deepEqual((await device.nextJson(`${jobs}/notify`)).jobs.QUEUED.map((summary) => summary.jobId), [jobId]);

      await device.publish(`${jobs}/start-next`, { clientToken: "go", statusDetails: { step: "1" } });
      const started = await device.nextJson(`${jobs}/start-next/accepted`);
      assert.equal(started.clientToken, "go");
      assert.deepEqual(
        { jobId: started.execution.jobId, status: started.execution.status, version: started.execution.versionNumber, details: started.execution.statusDetails },
        { jobId, status: "IN_PROGRESS", version: 2, details: { step: "1" } },
      );
      assert.deepEqual(started.execution.jobDocument, document);

      await device.publish(`${jobs}/${jobId}/update`, { status: "SUCCEEDED", expectedVersion: 2, clientToken: "done" });
      assert.equal((await device.nextJson(`${jobs}/${jobId}/update/accepted`)).clientToken, "done");
      assert.equal((await device.nextJson(`${jobs}/notify-next`)).execution, undefined);

      const job = await untilStatus(jobId, "COMPLETED");
      assert.equal(job.jobProcessDetails.numberOfSucceededThings, 1);
      assert.equal(job.jobProcessDetails.numberOfQueuedThings, 0);
      assert.ok(job.completedAt >= job.createdAt);
      assert.deepEqual(job.targets, [thingArn]);
    });

    test("a device that was away when the job was dispatched finds it", async (t) => {
      const { thingName, thingArn } = await createThing();
      const jobs = topics(thingName);
      const jobId = await createJob([thingArn]);
      await fireCron();
      const device = await connect(t, { protocolVersion });
      await device.publish(`${jobs}/get`, "");
      const { queuedJobs, inProgressJobs } = await device.nextJson(`${jobs}/get/accepted`);
      assert.deepEqual([queuedJobs.map((summary) => summary.jobId), inProgressJobs], [[jobId], []]);
      await device.publish(`${jobs}/$next/get`, {});
      assert.equal((await device.nextJson(`${jobs}/$next/get/accepted`)).execution.jobId, jobId);
      await device.publish(`${jobs}/${jobId}/get`, { includeJobDocument: false });
      const { execution } = await device.nextJson(`${jobs}/${jobId}/get/accepted`);
      assert.deepEqual([execution.status, execution.jobDocument], ["QUEUED", undefined]);
      await device.publish(`${jobs}/${jobId}/update`, { status: "FAILED", statusDetails: { reason: "no space" } });
      await device.next(`${jobs}/${jobId}/update/accepted`);
      const job = await untilStatus(jobId, "COMPLETED");
      assert.equal(job.jobProcessDetails.numberOfFailedThings, 1);
    });

    test("replies reach the device that asked without a subscription, and nobody else", async (t) => {
      const { thingName } = await createThing();
      const jobs = topics(thingName);
      const [device, bystander] = await Promise.all([connect(t, { protocolVersion }), connect(t, { protocolVersion })]);
      const last = unique("last");
      await bystander.subscribe([`${jobs}/#`, last]);
      await device.publish(`${jobs}/get`, { clientToken: "quiet" });
      assert.deepEqual((await device.nextJson(`${jobs}/get/accepted`)).clientToken, "quiet");
      await device.publish(last, "marker");
      await bystander.next(last);
      assert.deepEqual(bystander.inbox, []);
    });

    test("an update that cannot be is rejected with its code", async (t) => {
      const { thingName, thingArn } = await createThing();
      const jobs = topics(thingName);
      const device = await connect(t, { protocolVersion });
      const unknown = unique("unknown");
      await device.publish(`${jobs}/${unknown}/update`, { status: "SUCCEEDED", clientToken: "t" });
      const rejected = await device.nextJson(`${jobs}/${unknown}/update/rejected`);
      assert.deepEqual([rejected.code, rejected.clientToken], ["ResourceNotFound", "t"]);

      const jobId = await createJob([thingArn]);
      await fireCron();
      for (const [payload, code] of [
        ["{", "InvalidJson"],
        [{ status: "QUEUED" }, "InvalidRequest"],
        [{ status: "IN_PROGRESS", expectedVersion: 9 }, "VersionMismatch"],
      ]) {
        await device.publish(`${jobs}/${jobId}/update`, payload);
        assert.equal((await device.nextJson(`${jobs}/${jobId}/update/rejected`)).code, code, JSON.stringify(payload));
      }
      await device.publish(`${jobs}/${jobId}/update`, { status: "SUCCEEDED" });
      await device.next(`${jobs}/${jobId}/update/accepted`);
      await device.publish(`${jobs}/${jobId}/update`, { status: "IN_PROGRESS" });
      assert.equal((await device.nextJson(`${jobs}/${jobId}/update/rejected`)).code, "InvalidStateTransition");
    });
  });
}

suite("CreateJob", { concurrency: true }, () => {
  test("a job of several things is complete when all of them are done", async (t) => {
    const things = await Promise.all([createThing(), createThing(), createThing()]);
    const jobId = await createJob(things.map(({ thingArn }) => thingArn));
    await fireCron();
    const device = await connect(t);
    for (const [index, { thingName }] of things.entries()) {
      assert.equal((await describeJob(jobId)).status, "IN_PROGRESS");
      await device.publish(`${topics(thingName)}/${jobId}/update`, { status: index === 0 ? "FAILED" : "SUCCEEDED" });
      await device.next(`${topics(thingName)}/${jobId}/update/accepted`);
    }
    const { jobProcessDetails } = await untilStatus(jobId, "COMPLETED");
    assert.deepEqual([jobProcessDetails.numberOfSucceededThings, jobProcessDetails.numberOfFailedThings], [2, 1]);
  });

  test("two jobs of one thing come one after the other", async (t) => {
    const { thingName, thingArn } = await createThing();
    const jobs = topics(thingName);
    const ids = [await createJob([thingArn]), await createJob([thingArn])];
    await fireCron();
    const device = await connect(t);
    const done = [];
    for (let number = 0; number < 2; number += 1) {
      await device.publish(`${jobs}/start-next`, {});
      const { execution } = await device.nextJson(`${jobs}/start-next/accepted`);
      await device.publish(`${jobs}/${execution.jobId}/update`, { status: "SUCCEEDED" });
      await device.next(`${jobs}/${execution.jobId}/update/accepted`);
      done.push(execution.jobId);
    }
    assert.deepEqual(done.sort(), ids.sort());
    await device.publish(`${jobs}/start-next`, {});
    assert.equal((await device.nextJson(`${jobs}/start-next/accepted`)).execution, undefined);
  });

  test("what would be ignored is refused by its name", async () => {
    const { thingArn } = await createThing();
    for (const [name, value] of Object.entries({
      abortConfig: { criteriaList: [{ failureType: "FAILED", action: "CANCEL", thresholdPercentage: 10, minNumberOfExecutedThings: 1 }] },
      documentSource: "https://example.com/document",
      jobExecutionsRolloutConfig: { maximumPerMinute: 5 },
      jobExecutionsRetryConfig: { criteriaList: [{ failureType: "FAILED", numberOfRetries: 1 }] },
      presignedUrlConfig: { roleArn: "arn:aws:iam::123456789012:role/x", expiresInSec: 60 },
      schedulingConfig: { startTime: "2030-01-01 10:00" },
      targetSelection: "CONTINUOUS",
      tags: [{ Key: "a", Value: "b" }],
      timeoutConfig: { inProgressTimeoutInMinutes: 5 },
    })) {
      const jobId = unique("job");
      await assert.rejects(iot.send(new CreateJobCommand({ jobId, targets: [thingArn], document: "{}", [name]: value })), (error) => {
        assert.ok(error instanceof InvalidRequestException, `${name}: ${error.name}`);
        assert.match(error.message, new RegExp(`^${name} .*not supported`));
        return true;
      });
      await assert.rejects(describeJob(jobId), ResourceNotFoundException);
    }
  });

  test("a job needs targets that exist, a document that is JSON, and an id that is free", async () => {
    const { thingArn } = await createThing();
    const missing = `arn:aws:iot:${contract.region}:${contract.accountId}:thing/${unique("missing")}`;
    const create = (input) => iot.send(new CreateJobCommand({ jobId: unique("job"), targets: [thingArn], document: "{}", ...input }));
    await assert.rejects(create({ targets: [missing] }), ResourceNotFoundException);
    await assert.rejects(create({ targets: ["thing"] }), InvalidRequestException);
    await assert.rejects(create({ document: "{" }), InvalidRequestException);
    const jobId = await createJob([thingArn]);
    await assert.rejects(create({ jobId }), ResourceAlreadyExistsException);
    await assert.rejects(describeJob(unique("job")), ResourceNotFoundException);
  });

  test("ListJobs has a job that is under way, then one that is COMPLETED", async (t) => {
    const { thingName, thingArn } = await createThing();
    const jobId = await createJob([thingArn]);
    const statusInList = async (status) => (await iot.send(new ListJobsCommand({ status, maxResults: 250 }))).jobs.some((job) => job.jobId === jobId);
    assert.deepEqual([await statusInList("IN_PROGRESS"), await statusInList("COMPLETED")], [true, false]);
    await fireCron();
    const device = await connect(t);
    await device.publish(`${topics(thingName)}/${jobId}/update`, { status: "SUCCEEDED" });
    await device.next(`${topics(thingName)}/${jobId}/update/accepted`);
    await untilStatus(jobId, "COMPLETED");
    await fireCron();
    assert.deepEqual([await statusInList("IN_PROGRESS"), await statusInList("COMPLETED")], [false, true]);
  });
});

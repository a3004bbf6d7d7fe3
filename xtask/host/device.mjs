// The simulated device of `cargo xtask dev`: a thermometer in San Francisco, and an operator who tells it something. Both speak the
// public API only, with off-the-shelf clients; what happens is told on stderr.
//
// stdin: one line of JSON, what `dev --json` prints; the device ends when stdin does.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { CreateJobCommand, CreateThingCommand, DescribeJobCommand, DescribeThingCommand, IoTClient } from "@aws-sdk/client-iot";
import { IoTDataPlaneClient, UpdateThingShadowCommand } from "@aws-sdk/client-iot-data-plane";
import mqtt from "mqtt";
import { Thermometer, parseReadings } from "./thermometer.mjs";

const THING = "sf-thermometer";
const TELEMETRY_TOPIC = "sensors/sf/temperature";
const SHADOW = `$aws/things/${THING}/shadow`;
const JOBS = `$aws/things/${THING}/jobs`;
const DEMO_JOB = "calibrate-sf-thermometer";
const OPERATOR_WAITS_MILLIS = 6_000;

const lines = createInterface({ input: process.stdin });
const contract = await new Promise((resolve) => lines.once("line", (line) => resolve(JSON.parse(line))));
lines.once("close", () => process.exit(0));

const say = (who, text) => process.stderr.write(`${new Date().toISOString().slice(11, 19)}  ${who.padEnd(9)} ${text}\n`);

const sdk = {
  endpoint: contract.endpoint,
  region: contract.region,
  credentials: { accessKeyId: contract.accessKeyId, secretAccessKey: contract.secretAccessKey },
};
const iot = new IoTClient(sdk);
const iotData = new IoTDataPlaneClient(sdk);

const thermometer = new Thermometer(parseReadings(readFileSync(new URL(import.meta.resolve("vega-datasets/data/sf-temps.csv")), "utf8")));

async function registerThing() {
  try {
    await iot.send(new CreateThingCommand({ thingName: THING }));
    say("device", `registered itself as the thing ${THING}`);
  } catch (error) {
    if (error.name !== "ResourceAlreadyExistsException") throw error;
  }
  return (await iot.send(new DescribeThingCommand({ thingName: THING }))).thingArn;
}

function runDevice() {
  const client = mqtt.connect(contract.mqtt, {
    clientId: THING,
    username: contract.accessKeyId,
    password: contract.secretAccessKey,
    protocolVersion: 5,
    clean: true,
  });
  const send = (topic, document) => client.publish(topic, JSON.stringify(document), { qos: 1 });
  const report = (temperature) => send(`${SHADOW}/update`, { state: { reported: thermometer.reported(temperature) } });

  const handlers = {
    [`${SHADOW}/update/delta`]: ({ state, version }) => {
      const changes = thermometer.obey(state);
      if (changes.length === 0) return;
      say("device", `obeys the desired state of shadow version ${version}: ${changes.join(", ")}`);
      measure();
    },
    [`${JOBS}/notify-next`]: ({ execution }) => {
      if (execution) send(`${JOBS}/start-next`, {});
    },
    [`${JOBS}/start-next/accepted`]: ({ execution }) => {
      if (!execution) return;
      const end = thermometer.runJob(execution.jobDocument);
      say("device", `ran job ${execution.jobId} ${JSON.stringify(execution.jobDocument)}: ${end.status}`);
      send(`${JOBS}/${execution.jobId}/update`, end);
    },
  };

  let timer;
  function measure() {
    clearTimeout(timer);
    timer = setTimeout(measure, thermometer.intervalSeconds * 1000);
    const reading = thermometer.measure();
    send(TELEMETRY_TOPIC, reading);
    report(reading.temp);
    say("telemetry", `${TELEMETRY_TOPIC} ${JSON.stringify(reading)}`);
  }

  client.on("connect", async () => {
    say("device", `connected to ${contract.mqtt} as ${THING}`);
    await client.subscribeAsync(Object.keys(handlers), { qos: 1 });
    // what was asked for while it was away
    send(`${JOBS}/start-next`, {});
    measure();
  });
  client.on("close", () => clearTimeout(timer));
  client.on("error", (error) => say("device", `cannot connect: ${error.message}`));
  client.on("message", (topic, payload) => {
    try {
      handlers[topic]?.(JSON.parse(payload.toString("utf8")));
    } catch (error) {
      say("device", `cannot handle ${topic}: ${error.message}`);
    }
  });
}

/** What a back end would do: ask for another unit, and for a calibration. */
async function operate(thingArn) {
  await sleep(OPERATOR_WAITS_MILLIS);
  const unit = thermometer.unit === "F" ? "C" : "F";
  say("operator", `desires unit °${unit}`);
  const payload = new TextEncoder().encode(JSON.stringify({ state: { desired: { unit } } }));
  await iotData.send(new UpdateThingShadowCommand({ thingName: THING, payload }));

  try {
    await iot.send(new DescribeJobCommand({ jobId: DEMO_JOB }));
  } catch (error) {
    if (error.name !== "ResourceNotFoundException") throw error;
    const document = JSON.stringify({ operation: "calibrate", offset: 1.5 });
    await iot.send(new CreateJobCommand({ jobId: DEMO_JOB, targets: [thingArn], document }));
    say("operator", `created job ${DEMO_JOB} ${document}; the cron trigger dispatches it within a minute`);
  }
}

try {
  const thingArn = await registerThing();
  runDevice();
  await operate(thingArn);
} catch (error) {
  say("device", `stopped: ${error.name}: ${error.message}`);
  process.exit(1);
}

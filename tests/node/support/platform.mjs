// The running platform that the tests share, and the ways to reach it that are not MQTT.

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { DescribeThingCommand, IoTClient } from "@aws-sdk/client-iot";
import { IoTDataPlaneClient } from "@aws-sdk/client-iot-data-plane";

/** How long anything may take before a test gives up. Generous: a slow machine is no failure. */
export const PATIENCE_MILLIS = 20_000;

/** What `cargo xtask dev --json --control` prints; `cargo xtask test --only node` sets it. */
export const contract = readContract();

function readContract() {
  const line = process.env.UMBRA_PLATFORM;
  if (!line) throw new Error("UMBRA_PLATFORM is not set: run `cargo xtask test --only node`, or give it the line of `cargo xtask dev --json --control`");
  return JSON.parse(line);
}

const sdk = {
  endpoint: contract.endpoint,
  region: contract.region,
  credentials: { accessKeyId: contract.accessKeyId, secretAccessKey: contract.secretAccessKey },
  // what the platform answers is what the test sees
  maxAttempts: 1,
};
export const iot = new IoTClient(sdk);
export const iotData = new IoTDataPlaneClient(sdk);

/** A name that no other test uses, on this platform or an earlier one. */
export const unique = (prefix) => `${prefix}-${randomBytes(6).toString("hex")}`;

/** The result of `promise`, or an error that says what did not happen in time. */
export async function within(promise, what, millis = PATIENCE_MILLIS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${millis} ms`)), millis);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Asks the harness for what no client can do; see xtask/host/control.mjs. */
async function control(path, body = {}) {
  const { url, token } = contract.control;
  const response = await fetch(url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (response.status !== 200) throw new Error(`${path} ${JSON.stringify(body)}: ${answer.error}`);
  return answer;
}

/** Fires the cron trigger and waits until its handler is done. */
export const fireCron = () => control("/cron");
/** Ends the platform in good order and starts it again, with other variables if some are given: they stay. */
export const restart = (vars = {}) => control("/restart", { vars });
/** The same, but it gets no chance to finish anything. */
export const kill = () => control("/kill");

const BROKERS = [0, 1, 2].map((index) => ({ className: "Broker", name: `broker/home/${index}` }));
const ROUTERS = [0, 1, 2, 3].map((shard) => ({ className: "Router", name: `router/${shard}` }));
const SESSIONS = [0, 1, 2, 3].map((shard) => ({ className: "Sessions", name: `sessions/${shard}` }));

const evictAll = (objects) => Promise.all(objects.map(evict));

async function evict(object) {
  try {
    await control("/evict", { ...object, webSockets: "hibernate" });
  } catch (error) {
    // It slept already, which is just as well.
    if (!error.message.includes("not currently running")) throw error;
  }
}

/** How Brokers hold their sockets (`SOCKET_MODE`, docs/settings.md): "hibernatable" or "accepted". */
export const socketMode = contract.control?.socketMode ?? "hibernatable";

/** Options of a test in which Brokers sleep: with the other kind of sockets, it has nothing to show. */
export const BROKERS_SLEEP = {
  skip: socketMode === "accepted" ? "an object with accepted sockets never sleeps" : false,
};

/** What each Broker has done so far, and whether anything is under way there; see workers/entry/test_hooks.js. */
export const brokerCounts = () =>
  Promise.all(
    BROKERS.map(async (_, index) => {
      const response = await fetch(`${contract.endpoint}/__test/counts/${index}`);
      if (!response.ok) throw new Error(`/__test/counts/${index}: ${response.status}`);
      return response.json();
    }),
  );

/** Done when nothing is under way in any Broker: nothing keeps one awake then. */
export async function brokersAtRest() {
  const deadline = Date.now() + PATIENCE_MILLIS;
  // Twice in a row: what one has just finished may concern another.
  for (let calm = 0; calm < 2; await sleep(50)) {
    calm = (await brokerCounts()).every(({ isAtRest }) => isAtRest) ? calm + 1 : 0;
    if (Date.now() > deadline) throw new Error("the Brokers don't come to rest");
  }
}

/** Puts all Brokers to sleep: their memory is gone, their WebSockets stay open. With accepted sockets they can't sleep. */
export const evictBrokers = () => evictAll(BROKERS);
export const evictRouters = () => evictAll(ROUTERS);
export const evictSessions = () => evictAll(SESSIONS);
export const evictThing = (thingName) => evictAll([{ className: "Thing", name: `thing/${thingName}` }]);

/** The ARN of a thing that exists. */
export const arnOf = async (thingName) => (await iot.send(new DescribeThingCommand({ thingName }))).thingArn;

/** A document as the SDK takes it. */
export const encode = (document) => new TextEncoder().encode(JSON.stringify(document));
/** A document as the SDK, or MQTT, gives it. */
export const decode = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

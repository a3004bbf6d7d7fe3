// Shared subscriptions: each message to one member of each group.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { VERSIONS, connect, connectMany } from "./support/mqtt.mjs";
import { unique, within } from "./support/platform.mjs";

const MESSAGES = 60;

for (const { version, protocolVersion } of VERSIONS) {
  suite(`Shared subscriptions with MQTT ${version}`, { concurrency: true }, () => {
    test("each message goes to one member of each group, and to everybody else", async (t) => {
      const topic = unique("shared");
      const [publisher, outsider, ...members] = await connectMany(t, 8, { protocolVersion });
      await outsider.subscribe(topic);
      for (const [index, member] of members.entries()) await member.subscribe(`$share/${index % 2 ? "odd" : "even"}/${topic}`);
      for (let number = 0; number < MESSAGES; number += 1) await publisher.publish(topic, String(number));
      const all = Array.from({ length: MESSAGES }, (_, number) => String(number));
      await outsider.until(() => outsider.texts(topic).length >= MESSAGES, "all messages");
      for (const group of [0, 1]) {
        const group_members = members.filter((_, index) => index % 2 === group);
        const got = () => group_members.flatMap((member) => member.texts(topic));
        await within((async () => { while (got().length < MESSAGES) await new Promise((resolve) => setTimeout(resolve, 20)); })(), "all messages");
        assert.deepEqual(got().sort(), all.toSorted());
      }
    });

    test("a group whose members are away gets its messages when one is back", async (t) => {
      const [topic, clientId] = [unique("queue"), unique("worker")];
      const options = { protocolVersion, clientId, clean: false, ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 600 } } : {}) };
      const publisher = await connect(t, { protocolVersion });
      const first = await connect(t, options);
      await first.subscribe(`$share/workers/${topic}`);
      first.mqtt.stream.destroy();
      await within(first.closed, "the end of the connection");
      for (let number = 0; number < 10; number += 1) await publisher.publish(topic, String(number));
      const second = await connect(t, options);
      await second.until(() => second.texts(topic).length >= 10, "all messages");
      assert.deepEqual(second.texts(topic).map(Number).sort((a, b) => a - b), Array.from({ length: 10 }, (_, number) => number));
    });
  });
}

// Who may connect: SigV4 in the query of the upgrade, or an access key in CONNECT.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { VERSIONS, connect, open } from "./support/mqtt.mjs";
import { contract, unique, within } from "./support/platform.mjs";
import { presign } from "./support/presign.mjs";
import { connectRaw, upgrade } from "./support/raw.mjs";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** A packet without proof: what is not there in CONNECT must be in the upgrade. */
const NO_PROOF = { username: undefined, password: undefined };

const code = (connack) => connack.reasonCode ?? connack.returnCode;

suite("SigV4", { concurrency: true }, () => {
  for (const { version, protocolVersion } of VERSIONS) {
    test(`an MQTT ${version} client connects by a presigned URL alone`, async (t) => {
      const topic = unique("signed");
      const client = open(t, { protocolVersion, ...NO_PROOF, transformWsUrl: () => presign() });
      await client.connected();
      await client.subscribe(topic);
      await client.publish(topic, "signed");
      await client.next(topic);
    });

    test(`a valid signature makes the user name and password of MQTT ${version} irrelevant`, async (t) => {
      const proofs = [
        { username: "?SDK=Python&Version=1.2.3", password: undefined },
        { username: contract.accessKeyId, password: Buffer.from("wrong") },
        { username: "AKIA0000000000000000", password: Buffer.from([0, 255]) },
      ];
      for (const proof of proofs) {
        const client = await connectRaw(t, { protocolVersion, clientId: unique("metrics"), ...proof }, { url: presign() });
        assert.equal(code(client.connack), 0, JSON.stringify(proof));
      }
    });
  }

  test("a presigned URL is good until it expires", async (t) => {
    const url = presign({ date: new Date(Date.now() - 50 * MINUTE), expiresSeconds: 3_600 });
    const client = await connectRaw(t, { clientId: unique("late"), ...NO_PROOF }, { url });
    assert.equal(client.connack.returnCode, 0);
  });

  const rows = [
    { name: "made with another secret", url: () => presign({ secretAccessKey: `${contract.secretAccessKey}x` }), error: "InvalidSignatureException" },
    { name: "made with an unknown access key", url: () => presign({ accessKeyId: "AKIAUNKNOWNUNKNOWN00" }), error: "UnrecognizedClientException" },
    { name: "that has expired", url: () => presign({ date: new Date(Date.now() - 2 * HOUR), expiresSeconds: 3_600 }), error: "InvalidSignatureException" },
    { name: "of tomorrow", url: () => presign({ date: new Date(Date.now() + 24 * HOUR) }), error: "InvalidSignatureException" },
    { name: "for another service", url: () => presign({ service: "iot" }), error: "InvalidSignatureException" },
    { name: "for another region", url: () => presign({ region: "eu-central-1" }), error: "InvalidSignatureException" },
    { name: "for another path", url: () => presign({ signedPath: "/other" }), error: "InvalidSignatureException" },
    { name: "for another host", url: () => presign({ host: "example.com" }), error: "InvalidSignatureException" },
    { name: "for a request with one parameter less", url: () => `${presign()}&extra=1`, error: "InvalidSignatureException" },
    { name: "with a digit changed", url: () => presign().replace(/.$/, (digit) => (digit === "0" ? "1" : "0")), error: "InvalidSignatureException" },
    { name: "with a session token that does not belong to the key", url: () => presign({ appendedToken: "not/this+one=" }), error: "UnrecognizedClientException" },
    { name: "with a signed session token that does not belong to the key", url: () => presign({ signedToken: "not/this+one=" }), error: "UnrecognizedClientException" },
    { name: "without its date", url: () => presign().replace(/X-Amz-Date=[^&]*&/, ""), error: "IncompleteSignatureException", status: 400 },
  ];
  for (const { name, url, error, status = 403 } of rows) {
    test(`a signature ${name} is refused before the upgrade, whatever CONNECT would say`, async (t) => {
      const refused = await upgrade(t, { url: url() });
      assert.deepEqual({ status: refused.status, error: refused.errorType }, { status, error }, refused.body);
      assert.ok(!refused.body.includes(contract.secretAccessKey));
    });
  }

  test("a token appended after signing is told apart from a broken signature", async (t) => {
    const good = await upgrade(t, { url: presign({ appendedToken: "token" }) });
    const bad = await upgrade(t, { url: presign({ appendedToken: "token", secretAccessKey: "another" }) });
    assert.deepEqual([good.errorType, bad.errorType], ["UnrecognizedClientException", "InvalidSignatureException"]);
  });
});

suite("Access key in CONNECT", { concurrency: true }, () => {
  const rows = [
    { name: "the right access key", proof: {}, codes: { 4: 0, 5: 0 } },
    { name: "a wrong secret", proof: { password: Buffer.from("wrong") }, codes: { 4: 4, 5: 0x86 } },
    { name: "an empty secret", proof: { password: Buffer.alloc(0) }, codes: { 4: 4, 5: 0x86 } },
    { name: "an unknown access key", proof: { username: "AKIAUNKNOWNUNKNOWN00" }, codes: { 4: 4, 5: 0x86 } },
    { name: "the access key and no secret", proof: { password: undefined }, codes: { 4: 5, 5: 0x87 } },
    { name: "neither user name nor password", proof: NO_PROOF, codes: { 4: 5, 5: 0x87 } },
  ];
  for (const { version, protocolVersion } of VERSIONS) {
    for (const { name, proof, codes } of rows) {
      const expected = codes[protocolVersion];
      test(`MQTT ${version} with ${name} is answered with code ${expected}`, async (t) => {
        const client = await connectRaw(t, { protocolVersion, clientId: unique("key"), ...proof });
        assert.equal(code(client.connack), expected);
        if (expected !== 0) await within(client.closed, "the end of the connection");
      });
    }
  }

  test("a refused connection does not end the one that has the client id", async (t) => {
    const clientId = unique("owner");
    const owner = await connect(t, { clientId });
    const thief = await connectRaw(t, { protocolVersion: 5, clientId, password: Buffer.from("wrong") });
    assert.equal(thief.connack.reasonCode, 0x86);
    const topic = unique("owner");
    await owner.subscribe(topic);
    await owner.publish(topic, "still here");
    await owner.next(topic);
  });
});

suite("Internal header", { concurrency: true }, () => {
  const grant = Buffer.from(JSON.stringify({ principal: { type: "root" }, trace_id: "0", host: "localhost" })).toString("base64url");
  for (const value of ["x", grant, `v1.${grant}.${"0".repeat(64)}`]) {
    test(`x-umbra-internal-grant: ${value.slice(0, 8)}… from outside opens nothing`, async (t) => {
      const headers = { "x-umbra-internal-grant": value };
      const without = await connectRaw(t, { protocolVersion: 5, clientId: unique("outsider"), ...NO_PROOF }, { headers });
      assert.equal(without.connack.reasonCode, 0x87);
      const withKey = await connectRaw(t, { protocolVersion: 5, clientId: unique("outsider") }, { headers });
      assert.equal(withKey.connack.reasonCode, 0);
    });
  }
});

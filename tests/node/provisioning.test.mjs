// Provisioning: templates, RegisterThing, claims, and devices that ask for their certificates over MQTT.

import assert from "node:assert/strict";
import { X509Certificate, createHash } from "node:crypto";
import { createServer } from "node:http";
import { suite, test } from "node:test";
import * as sdk from "@aws-sdk/client-iot";
import { newAuthority, newRequest } from "./support/authority.mjs";
import { verified } from "./support/device.mjs";
import { connect, open } from "./support/mqtt.mjs";
import { contract, decode, iot, unique } from "./support/platform.mjs";

const call = (name, input = {}) => iot.send(new sdk[`${name}Command`](input));
const arn = (kind, name) => `arn:aws:iot:${contract.region}:${contract.accountId}:${kind}/${name}`;
const provisioningRoleArn = "arn:aws:iam::123456789012:role/provisioning";
const POLICY = JSON.stringify({ Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: "iot:*", Resource: "*" }] });

/** A template for a device that tells its serial number. */
const fleetTemplate = ({ properties = {}, overrides, policyName } = {}) => ({
  Parameters: { SerialNumber: { Type: "String" }, Location: { Type: "String", Default: "hall" } },
  Resources: {
    thing: {
      Type: "AWS::IoT::Thing",
      Properties: {
        ThingName: { "Fn::Join": ["", ["device-", { Ref: "SerialNumber" }]] },
        AttributePayload: { location: { Ref: "Location" }, serial: { "Fn::Sub": "no-${SerialNumber}" } },
        ...properties,
      },
      ...(overrides ? { OverrideSettings: overrides } : {}),
    },
    certificate: { Type: "AWS::IoT::Certificate", Properties: { CertificateId: { Ref: "AWS::IoT::Certificate::Id" }, Status: "Active" } },
    policy: { Type: "AWS::IoT::Policy", Properties: policyName ? { PolicyName: policyName } : { PolicyDocument: POLICY } },
  },
  DeviceConfiguration: { FallbackUrl: "https://www.example.com/test-site", LocationUrl: { "Fn::Sub": "https://example.com/${Location}" } },
});

const template = async (body, input = {}) => {
  const templateName = unique("template");
  await call("CreateProvisioningTemplate", { templateName, templateBody: JSON.stringify(body), provisioningRoleArn, enabled: true, ...input });
  return templateName;
};

suite("Provisioning templates", { concurrency: true }, () => {
  test("a template is created, described, listed, changed and deleted", async () => {
    const templateName = unique("template");
    const input = { templateName, templateBody: JSON.stringify(fleetTemplate()), provisioningRoleArn, description: "lamps" };
    const created = await call("CreateProvisioningTemplate", input);
    assert.deepEqual([created.templateArn, created.defaultVersionId], [arn("provisioningtemplate", templateName), 1]);
    await assert.rejects(call("CreateProvisioningTemplate", input), sdk.ResourceAlreadyExistsException);
    const described = await call("DescribeProvisioningTemplate", { templateName });
    assert.deepEqual(JSON.parse(described.templateBody), fleetTemplate());
    assert.deepEqual([described.enabled, described.type, described.description], [false, "FLEET_PROVISIONING", "lamps"]);
    await call("UpdateProvisioningTemplate", { templateName, enabled: true, description: "lights", preProvisioningHook: { targetArn: "https://hook.example.com/" } });
    const changed = await call("DescribeProvisioningTemplate", { templateName });
    assert.deepEqual([changed.enabled, changed.description, changed.preProvisioningHook.targetArn], [true, "lights", "https://hook.example.com/"]);
    const names = [];
    let nextToken;
    do {
      const page = await call("ListProvisioningTemplates", { maxResults: 2, nextToken });
      names.push(...page.templates.map((one) => one.templateName));
      nextToken = page.nextToken;
    } while (nextToken);
    assert.equal(names.filter((name) => name === templateName).length, 1);
    await call("DeleteProvisioningTemplate", { templateName });
    await assert.rejects(call("DescribeProvisioningTemplate", { templateName }), sdk.ResourceNotFoundException);
    await assert.rejects(call("DeleteProvisioningTemplate", { templateName }), sdk.ResourceNotFoundException);
  });

  test("a template has up to five versions, one of which is in use", async () => {
    const templateName = await template(fleetTemplate());
    const templateBody = JSON.stringify(fleetTemplate({ properties: { ThingTypeName: "lamp" } }));
    const second = await call("CreateProvisioningTemplateVersion", { templateName, templateBody });
    assert.deepEqual([second.versionId, second.isDefaultVersion], [2, false]);
    await call("CreateProvisioningTemplateVersion", { templateName, templateBody, setAsDefault: true });
    assert.equal((await call("DescribeProvisioningTemplate", { templateName })).defaultVersionId, 3);
    const { versions } = await call("ListProvisioningTemplateVersions", { templateName });
    assert.deepEqual(versions.map((one) => [one.versionId, one.isDefaultVersion]), [[1, false], [2, false], [3, true]]);
    await assert.rejects(call("DeleteProvisioningTemplateVersion", { templateName, versionId: 3 }), sdk.DeleteConflictException);
    await call("UpdateProvisioningTemplate", { templateName, defaultVersionId: 2 });
    await call("DeleteProvisioningTemplateVersion", { templateName, versionId: 3 });
    await assert.rejects(call("DescribeProvisioningTemplateVersion", { templateName, versionId: 3 }), sdk.ResourceNotFoundException);
    await assert.rejects(call("UpdateProvisioningTemplate", { templateName, defaultVersionId: 3 }), sdk.ResourceNotFoundException);
    for (const versionId of [4, 5, 6]) {
      assert.equal((await call("CreateProvisioningTemplateVersion", { templateName, templateBody })).versionId, versionId, "numbers never come back");
    }
    await assert.rejects(call("CreateProvisioningTemplateVersion", { templateName, templateBody }), sdk.VersionsLimitExceededException);
    await call("DeleteProvisioningTemplate", { templateName });
    await call("CreateProvisioningTemplate", { templateName, templateBody, provisioningRoleArn });
    assert.equal((await call("ListProvisioningTemplateVersions", { templateName })).versions.length, 1);
  });

  test("a body that is no template is refused", async () => {
    for (const templateBody of ["x", "[]", "{}", JSON.stringify({ Resources: { a: { Type: "AWS::IoT::Other", Properties: {} } } })]) {
      const input = { templateName: unique("template"), templateBody, provisioningRoleArn };
      await assert.rejects(call("CreateProvisioningTemplate", input), sdk.InvalidRequestException, templateBody);
    }
  });
});

suite("RegisterThing", { concurrency: true }, () => {
  const body = (properties = {}) => JSON.stringify({
    Parameters: { Name: { Type: "String" }, Csr: { Type: "String" } },
    Resources: {
      thing: { Type: "AWS::IoT::Thing", Properties: { ThingName: { Ref: "Name" }, AttributePayload: { a: "1" }, ...properties } },
      certificate: { Type: "AWS::IoT::Certificate", Properties: { CertificateSigningRequest: { Ref: "Csr" } } },
      policy: { Type: "AWS::IoT::Policy", Properties: { PolicyDocument: POLICY } },
    },
  });

  test("a thing, its certificate, its policy and its groups come in one request", async () => {
    const [name, group, type, billing] = ["thing", "group", "type", "billing"].map(unique);
    await call("CreateThingGroup", { thingGroupName: group });
    await call("CreateThingType", { thingTypeName: type });
    await call("CreateBillingGroup", { billingGroupName: billing });
    const templateBody = body({ ThingGroups: [group], ThingTypeName: type, BillingGroup: billing });
    const parameters = { Name: name, Csr: newRequest(`/CN=${name}`).csr };
    const { certificatePem, resourceArns } = await call("RegisterThing", { templateBody, parameters });
    assert.match(certificatePem, /BEGIN CERTIFICATE/);
    assert.equal(resourceArns.thing, arn("thing", name));
    const described = await call("DescribeThing", { thingName: name });
    assert.deepEqual([described.attributes, described.thingTypeName, described.billingGroupName], [{ a: "1" }, type, billing]);
    assert.deepEqual((await call("ListThingPrincipals", { thingName: name })).principals, [resourceArns.certificate]);
    assert.deepEqual((await call("ListThingsInThingGroup", { thingGroupName: group })).things, [name]);
    const { policies } = await call("ListAttachedPolicies", { target: resourceArns.certificate });
    assert.deepEqual(policies.map((one) => one.policyArn), [resourceArns.policy]);
    assert.equal(policies[0].policyName, createHash("sha256").update(POLICY).digest("hex"));
    const certificateId = resourceArns.certificate.split("/").at(-1);
    assert.equal((await call("DescribeCertificate", { certificateId })).certificateDescription.status, "ACTIVE");
  });

  test("what is named and not there is told, and nothing is made", async () => {
    const name = unique("thing");
    const parameters = { Name: name, Csr: newRequest(`/CN=${name}`).csr };
    for (const properties of [{ ThingGroups: [unique("none")] }, { ThingTypeName: unique("none") }, { BillingGroup: unique("none") }]) {
      await assert.rejects(call("RegisterThing", { templateBody: body(properties), parameters }), sdk.ResourceRegistrationFailureException);
    }
    await assert.rejects(call("RegisterThing", { templateBody: body(), parameters: { Name: name } }), sdk.InvalidRequestException);
    await assert.rejects(call("DescribeThing", { thingName: name }), sdk.ResourceNotFoundException);
  });

  test("what is there already is left alone, replaced or a conflict, as the template says", async () => {
    const outcome = async (override) => {
      const thingName = unique("thing");
      await call("CreateThing", { thingName, attributePayload: { attributes: { a: "old", b: "2" } } });
      const templateBody = JSON.stringify({
        Parameters: {},
        Resources: {
          thing: {
            Type: "AWS::IoT::Thing",
            Properties: { ThingName: thingName, AttributePayload: { a: "new" } },
            ...(override ? { OverrideSettings: { AttributePayload: override } } : {}),
          },
        },
      });
      const failure = await call("RegisterThing", { templateBody }).then(() => undefined, (error) => error.name);
      return failure ?? (await call("DescribeThing", { thingName })).attributes;
    };
    assert.deepEqual(await outcome(), { a: "old", b: "2" });
    assert.deepEqual(await outcome("DO_NOTHING"), { a: "old", b: "2" });
    assert.deepEqual(await outcome("REPLACE"), { a: "new" });
    assert.deepEqual(await outcome("MERGE"), { a: "new", b: "2" });
    assert.equal(await outcome("FAIL"), "ConflictingResourceUpdateException");
  });
});

/** The options of a device that has a claim for a template. */
async function claim(templateName) {
  const { certificateId, keyPair, expiration } = await call("CreateProvisioningClaim", { templateName });
  assert.match(keyPair.PrivateKey, /PRIVATE KEY/);
  assert.ok(Math.abs(expiration.getTime() - Date.now() - 300_000) < 120_000);
  return { clientId: unique("claim"), ...verified(certificateId) };
}

/** What a device is answered that asks on a topic, without having subscribed to anything. */
async function ask(client, topic, payload) {
  const before = client.inbox.length;
  await client.publish(topic, typeof payload === "string" || Buffer.isBuffer(payload) ? payload : JSON.stringify(payload));
  await client.until(() => client.inbox.length > before, `an answer to ${topic}`);
  const answer = client.inbox.splice(before, 1)[0];
  return { is: answer.topic.slice(topic.length + 1), payload: answer.payload };
}

suite("Fleet provisioning", { concurrency: true }, () => {
  test("a device with a claim gets a certificate and becomes a thing with it", async (t) => {
    const templateName = await template(fleetTemplate());
    const client = await connect(t, await claim(templateName));
    const created = await ask(client, "$aws/certificates/create/json", {});
    assert.equal(created.is, "accepted");
    const { certificateId, certificatePem, privateKey, certificateOwnershipToken } = decode(created.payload);
    assert.match(certificatePem, /BEGIN CERTIFICATE/);
    assert.match(privateKey, /PRIVATE KEY/);
    assert.equal((await call("DescribeCertificate", { certificateId })).certificateDescription.status, "PENDING_ACTIVATION");
    const SerialNumber = unique("s");
    const topic = `$aws/provisioning-templates/${templateName}/provision/json`;
    const provisioned = await ask(client, topic, { certificateOwnershipToken, parameters: { SerialNumber } });
    assert.equal(provisioned.is, "accepted", provisioned.payload.toString());
    const thingName = `device-${SerialNumber}`;
    assert.deepEqual(decode(provisioned.payload), {
      deviceConfiguration: { FallbackUrl: "https://www.example.com/test-site", LocationUrl: "https://example.com/hall" },
      thingName,
    });
    assert.deepEqual((await call("DescribeThing", { thingName })).attributes, { location: "hall", serial: `no-${SerialNumber}` });
    assert.equal((await call("DescribeCertificate", { certificateId })).certificateDescription.status, "ACTIVE");
    const device = await connect(t, { clientId: thingName, ...verified(certificateId) });
    await device.subscribe(`${thingName}/a`);
    // a device whose answer was lost asks again
    assert.equal((await ask(client, topic, { certificateOwnershipToken, parameters: { SerialNumber } })).is, "accepted");
  });

  test("a device keeps its key and asks with a request for a certificate, in CBOR", async (t) => {
    const templateName = await template(fleetTemplate());
    const client = await connect(t, await claim(templateName));
    const { csr } = newRequest(`/CN=${unique("device")}`);
    const created = await ask(client, "$aws/certificates/create-from-csr/cbor", cbor({ certificateSigningRequest: csr }));
    assert.equal(created.is, "accepted");
    const answer = uncbor(created.payload);
    assert.deepEqual(Object.keys(answer).sort(), ["certificateId", "certificateOwnershipToken", "certificatePem"]);
    const SerialNumber = unique("s");
    const { certificateOwnershipToken } = answer;
    const provisioned = await ask(client, `$aws/provisioning-templates/${templateName}/provision/cbor`, cbor({ certificateOwnershipToken, parameters: { SerialNumber } }));
    assert.equal(provisioned.is, "accepted");
    assert.equal(uncbor(provisioned.payload).thingName, `device-${SerialNumber}`);
  });

  test("what can't be done is rejected with a reason", async (t) => {
    const templateName = await template(fleetTemplate({ policyName: unique("none") }));
    const client = await connect(t);
    const rejected = async (topic, payload) => {
      const { is, payload: bytes } = await ask(client, topic, payload);
      assert.equal(is, "rejected", `${topic} ${bytes}`);
      const { statusCode, errorCode, errorMessage } = decode(bytes);
      assert.ok(errorMessage.length > 0);
      return `${statusCode} ${errorCode}`;
    };
    const topic = (name) => `$aws/provisioning-templates/${name}/provision/json`;
    assert.equal(await rejected("$aws/certificates/create-from-csr/json", { certificateSigningRequest: "x" }), "400 InvalidCSR");
    assert.equal(await rejected("$aws/certificates/create-from-csr/json", "x"), "400 InvalidPayload");
    assert.equal(await rejected(topic(templateName), { certificateOwnershipToken: "made-up", parameters: {} }), "400 InvalidCertificateOwnershipToken");
    const { certificateOwnershipToken } = decode((await ask(client, "$aws/certificates/create/json", "")).payload);
    assert.equal(await rejected(topic(unique("none")), { certificateOwnershipToken, parameters: {} }), "404 ResourceNotFound");
    assert.equal(await rejected(topic(templateName), { certificateOwnershipToken, parameters: {} }), "400 InvalidParameters");
    const parameters = { SerialNumber: unique("s") };
    assert.equal(await rejected(topic(templateName), { certificateOwnershipToken, parameters }), "400 ResourceRegistrationFailure");
    await call("UpdateProvisioningTemplate", { templateName, enabled: false });
    assert.equal(await rejected(topic(templateName), { certificateOwnershipToken, parameters }), "404 ResourceNotFound");
  });

  test("a hook decides, and may set parameters", async (t) => {
    const asked = [];
    const answers = { yes: { allowProvisioning: true, parameterOverrides: { Location: "roof" } }, no: { allowProvisioning: false } };
    const server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request.setEncoding("utf8")) body += chunk;
      asked.push(JSON.parse(body));
      const answer = answers[request.url.slice(1)];
      response.writeHead(answer ? 200 : 500);
      response.end(JSON.stringify(answer ?? {}));
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
    const outcome = async (path) => {
      const preProvisioningHook = { targetArn: `http://127.0.0.1:${server.address().port}/${path}` };
      const templateName = await template(fleetTemplate(), { preProvisioningHook });
      const options = await claim(templateName);
      const client = await connect(t, options);
      const { certificateOwnershipToken, certificateId } = decode((await ask(client, "$aws/certificates/create/json", {})).payload);
      const SerialNumber = unique("s");
      const answer = await ask(client, `$aws/provisioning-templates/${templateName}/provision/json`, { certificateOwnershipToken, parameters: { SerialNumber } });
      const told = asked.at(-1);
      assert.deepEqual([told.clientId, told.certificateId, told.templateArn], [options.clientId, certificateId, arn("provisioningtemplate", templateName)]);
      assert.deepEqual(told.parameters, { SerialNumber });
      return { is: answer.is, body: decode(answer.payload) };
    };
    const allowed = await outcome("yes");
    assert.equal(allowed.is, "accepted", JSON.stringify(allowed.body));
    assert.equal((await call("DescribeThing", { thingName: allowed.body.thingName })).attributes.location, "roof");
    for (const path of ["no", "broken"]) {
      const { is, body } = await outcome(path);
      assert.deepEqual([is, body.statusCode], ["rejected", 403], path);
    }
  });

  test("a claim is good for its template's topics and nothing else", async (t) => {
    const templateName = await template(fleetTemplate());
    const client = await connect(t, await claim(templateName));
    await assert.rejects(client.publish(unique("topic"), "x"));
    const other = await template(fleetTemplate());
    await assert.rejects(client.publish(`$aws/provisioning-templates/${other}/provision/json`, "{}"));
    await assert.rejects(call("CreateProvisioningClaim", { templateName: unique("none") }), sdk.ResourceNotFoundException);
    await call("UpdateProvisioningTemplate", { templateName, enabled: false });
    await assert.rejects(call("CreateProvisioningClaim", { templateName }), sdk.InvalidRequestException);
  });
});

suite("Just-in-time provisioning", { concurrency: true }, () => {
  const jitpTemplate = {
    Parameters: { "AWS::IoT::Certificate::CommonName": { Type: "String" }, "AWS::IoT::Certificate::Id": { Type: "String" } },
    Resources: {
      thing: { Type: "AWS::IoT::Thing", Properties: { ThingName: { Ref: "AWS::IoT::Certificate::CommonName" }, AttributePayload: { made: "jitp" } } },
      certificate: { Type: "AWS::IoT::Certificate", Properties: { CertificateId: { Ref: "AWS::IoT::Certificate::Id" }, Status: "ACTIVE" } },
      policy: { Type: "AWS::IoT::Policy", Properties: { PolicyDocument: POLICY } },
    },
  };
  /** An authority that provisions its devices, and one of them, which comes for the first time. */
  async function newcomer(t, registrationConfig) {
    const authority = newAuthority(t);
    const input = { caCertificate: authority.pem, certificateMode: "SNI_ONLY", setAsActive: true, allowAutoRegistration: true, registrationConfig };
    await call("RegisterCACertificate", input);
    const own = authority.issue(unique("newcomer"));
    const options = verified(own.fingerprint, { certRFC9440: `:${own.der.toString("base64")}:` });
    await assert.rejects(open(t, options).connected(), { code: 0x87 });
    return { own, options, thingName: /CN=(\S+)/.exec(new X509Certificate(own.pem).subject)[1] };
  }

  for (const where of ["named", "in the configuration of its authority"]) {
    test(`a device becomes what a template says that is ${where}, and comes again as that`, async (t) => {
      const templateBody = JSON.stringify(jitpTemplate);
      const templateName = where === "named" ? await template(jitpTemplate, { type: "JITP" }) : undefined;
      const config = templateName ? { templateName } : { templateBody, roleArn: provisioningRoleArn };
      const { own, options, thingName } = await newcomer(t, config);
      assert.deepEqual((await call("DescribeThing", { thingName })).attributes, { made: "jitp" });
      const { certificateDescription } = await call("DescribeCertificate", { certificateId: own.fingerprint });
      assert.equal(certificateDescription.status, "ACTIVE");
      const client = await connect(t, { clientId: thingName, ...options });
      await client.subscribe("jitp/a");
    });
  }

  test("a device whose certificate lacks what the template wants waits for its activation", async (t) => {
    const body = structuredClone(jitpTemplate);
    body.Parameters["AWS::IoT::Certificate::Country"] = { Type: "String" };
    const { own, options } = await newcomer(t, { templateBody: JSON.stringify(body), roleArn: provisioningRoleArn });
    await assert.rejects(open(t, options).connected(), { code: 0x87 });
    const { certificateDescription } = await call("DescribeCertificate", { certificateId: own.fingerprint });
    assert.equal(certificateDescription.status, "PENDING_ACTIVATION");
  });
});

/** CBOR (RFC 8949) of maps and strings, which is all that devices send here. */
function cbor(value) {
  const head = (major, length) =>
    length < 24 ? Buffer.from([(major << 5) | length])
    : length < 256 ? Buffer.from([(major << 5) | 24, length])
    : Buffer.from([(major << 5) | 25, length >> 8, length & 255]);
  if (typeof value === "string") return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
  const entries = Object.entries(value);
  return Buffer.concat([head(5, entries.length), ...entries.flatMap(([key, one]) => [cbor(key), cbor(one)])]);
}

/** The same back. */
function uncbor(bytes) {
  let at = 0;
  const read = () => {
    const [major, short] = [bytes[at] >> 5, bytes[at] & 31];
    at += 1;
    let length = short;
    if (short === 24) length = bytes[at++];
    if (short === 25) length = (bytes[at++] << 8) | bytes[at++];
    if (major === 3) {
      at += length;
      return bytes.subarray(at - length, at).toString();
    }
    assert.equal(major, 5, "a map or a string");
    return Object.fromEntries(Array.from({ length }, () => [read(), read()]));
  };
  return read();
}

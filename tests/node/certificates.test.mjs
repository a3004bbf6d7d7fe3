// Where certificates come from: the platform's own authority, those of its owner, devices that come for the first time,
// other accounts; and the things that they belong to.

import assert from "node:assert/strict";
import { X509Certificate, createHmac, createPrivateKey, createPublicKey, hkdfSync } from "node:crypto";
import { suite, test } from "node:test";
import {
  AcceptCertificateTransferCommand,
  AttachPolicyCommand,
  AttachThingPrincipalCommand,
  CancelCertificateTransferCommand,
  CreateCertificateFromCsrCommand,
  CreateKeysAndCertificateCommand,
  CreateThingCommand,
  DeleteCACertificateCommand,
  DeleteCertificateCommand,
  DeleteThingCommand,
  DescribeCACertificateCommand,
  DescribeCertificateCommand,
  DetachThingPrincipalCommand,
  GetRegistrationCodeCommand,
  ListCACertificatesCommand,
  ListCertificatesByCACommand,
  ListOutgoingCertificatesCommand,
  ListPrincipalThingsCommand,
  ListThingPrincipalsCommand,
  RegisterCACertificateCommand,
  RegisterCertificateCommand,
  RejectCertificateTransferCommand,
  TransferCertificateCommand,
  UpdateCACertificateCommand,
  UpdateCertificateCommand,
} from "@aws-sdk/client-iot";
import { newAuthority, newRequest } from "./support/authority.mjs";
import { OWN_TOPICS as OWN, device, token, verified } from "./support/device.mjs";
import { connect, open } from "./support/mqtt.mjs";
import { contract, iot, restart, unique, within } from "./support/platform.mjs";
import { mutualTlsInFront } from "./support/tls.mjs";

const describe = async (certificateId) =>
  (await iot.send(new DescribeCertificateCommand({ certificateId }))).certificateDescription;

suite("the platform's own authority", { concurrency: true }, () => {
  test("gives a device a key and a certificate that belong together", async (t) => {
    const made = await iot.send(new CreateKeysAndCertificateCommand({ setAsActive: true }));
    const certificate = new X509Certificate(made.certificatePem);
    assert.equal(certificate.fingerprint256.replaceAll(":", "").toLowerCase(), made.certificateId);
    assert.match(made.keyPair.PrivateKey, /^-----BEGIN RSA PRIVATE KEY-----\n/);
    const privateKey = createPrivateKey(made.keyPair.PrivateKey);
    assert.equal(privateKey.asymmetricKeyDetails.modulusLength, 2_048);
    assert.ok(certificate.checkPrivateKey(privateKey));
    assert.ok(createPublicKey(made.keyPair.PublicKey).equals(certificate.publicKey));
    assert.equal(certificate.ca, false);
    const described = await describe(made.certificateId);
    assert.equal(described.status, "ACTIVE");
    assert.equal(described.certificateMode, "DEFAULT");

    const { policyName } = await device(t, OWN);
    await iot.send(new AttachPolicyCommand({ policyName, target: made.certificateArn }));
    const own = { fingerprint: made.certificateId, privateKey, algorithm: "RS256" };
    await open(t, { username: "x", password: token(own) }).connected();
    await iot.send(new UpdateCertificateCommand({ certificateId: made.certificateId, newStatus: "INACTIVE" }));
    await iot.send(new DeleteCertificateCommand({ certificateId: made.certificateId, forceDelete: true }));
  });

  test("signs what a request asks for, with one key for all", async () => {
    const { csr, privateKey } = newRequest("/O=Example/CN=requested");
    const made = await iot.send(new CreateCertificateFromCsrCommand({ certificateSigningRequest: csr }));
    const certificate = new X509Certificate(made.certificatePem);
    assert.equal(certificate.subject, "O=Example\nCN=requested");
    assert.ok(certificate.checkPrivateKey(privateKey));
    const described = await describe(made.certificateId);
    assert.equal(described.status, "INACTIVE");
    const other = await iot.send(new CreateCertificateFromCsrCommand({ certificateSigningRequest: newRequest("/CN=b").csr }));
    assert.equal((await describe(other.certificateId)).caCertificateId, described.caCertificateId);
    for (const { certificateId } of [made, other]) await iot.send(new DeleteCertificateCommand({ certificateId }));
    const broken = csr.replace(/\n[A-Za-z0-9+/]/, (start) => (start === "\nA" ? "\nB" : "\nA"));
    const refused = iot.send(new CreateCertificateFromCsrCommand({ certificateSigningRequest: broken }));
    await assert.rejects(refused, { name: "InvalidRequestException" });
  });
});

/** Registers an authority with the proof that AWS asks for; it goes with the test. */
async function register(t, authority, options = {}) {
  const { registrationCode } = await iot.send(new GetRegistrationCodeCommand({}));
  const verificationCertificate = authority.issue(registrationCode).pem;
  const input = { caCertificate: authority.pem, verificationCertificate, setAsActive: true, ...options };
  const registered = await iot.send(new RegisterCACertificateCommand(input));
  t.after(async () => {
    await iot.send(new UpdateCACertificateCommand({ certificateId: authority.id, newStatus: "INACTIVE" })).catch(() => {});
    await iot.send(new DeleteCACertificateCommand({ certificateId: authority.id })).catch(() => {});
  });
  return registered;
}

suite("an authority of the owner", { concurrency: true }, () => {
  test("is registered by who proves to hold its key", async (t) => {
    const authority = newAuthority(t);
    const wrong = { caCertificate: authority.pem, verificationCertificate: authority.issue("another code").pem };
    await assert.rejects(iot.send(new RegisterCACertificateCommand(wrong)), { name: "RegistrationCodeValidationException" });
    const { registrationCode } = await iot.send(new GetRegistrationCodeCommand({}));
    const foreign = { caCertificate: authority.pem, verificationCertificate: newAuthority(t).issue(registrationCode).pem };
    await assert.rejects(iot.send(new RegisterCACertificateCommand(foreign)), { name: "CertificateValidationException" });
    const noAuthority = { caCertificate: authority.issue("a device").pem, certificateMode: "SNI_ONLY" };
    await assert.rejects(iot.send(new RegisterCACertificateCommand(noAuthority)), { name: "CertificateValidationException" });

    const registered = await register(t, authority);
    assert.equal(registered.certificateId, authority.id);
    await assert.rejects(register(t, authority), { name: "ResourceAlreadyExistsException" });
    const { certificateDescription: described } = await iot.send(new DescribeCACertificateCommand({ certificateId: authority.id }));
    assert.equal(described.status, "ACTIVE");
    assert.equal(described.autoRegistrationStatus, "DISABLE");
    assert.equal(described.certificateArn, registered.certificateArn);
    const { certificates } = await iot.send(new ListCACertificatesCommand({ pageSize: 250 }));
    assert.ok(certificates.some(({ certificateId }) => certificateId === authority.id));
    await assert.rejects(iot.send(new DeleteCACertificateCommand({ certificateId: authority.id })), { name: "CertificateStateException" });
  });

  test("vouches for the devices that it has signed", async (t) => {
    const [authority, unknown] = [newAuthority(t), newAuthority(t)];
    await register(t, authority);
    const own = authority.issue("lamp");
    const made = await iot.send(new RegisterCertificateCommand({ certificatePem: own.pem, status: "ACTIVE" }));
    assert.equal(made.certificateId, own.fingerprint);
    assert.equal((await describe(own.fingerprint)).caCertificateId, authority.id);
    const { certificates } = await iot.send(new ListCertificatesByCACommand({ caCertificateId: authority.id }));
    assert.deepEqual(certificates.map(({ certificateId }) => certificateId), [own.fingerprint]);
    const stranger = unknown.issue("lamp");
    const refused = (input) => assert.rejects(iot.send(new RegisterCertificateCommand(input)), { name: "CertificateValidationException" });
    await refused({ certificatePem: stranger.pem });
    await refused({ certificatePem: stranger.pem, caCertificatePem: authority.pem });
    await iot.send(new UpdateCACertificateCommand({ certificateId: authority.id, newStatus: "INACTIVE" }));
    const late = iot.send(new RegisterCertificateCommand({ certificatePem: authority.issue("late").pem }));
    await assert.rejects(late, { name: "CertificateStateException" });
    await iot.send(new UpdateCertificateCommand({ certificateId: own.fingerprint, newStatus: "INACTIVE" }));
    await iot.send(new DeleteCertificateCommand({ certificateId: own.fingerprint }));
  });
});

suite("a device that comes for the first time", { concurrency: true }, () => {
  const field = (der) => `:${der.toString("base64")}:`;

  test("is registered when its authority says so, and told of until somebody activates it", async (t) => {
    const authority = newAuthority(t);
    await register(t, authority, { allowAutoRegistration: true });
    const root = await connect(t);
    const topic = `$aws/events/certificates/registered/${authority.id}`;
    await root.subscribe(topic, { qos: 1 });
    const own = authority.issue("newcomer");
    const options = verified(own.fingerprint, { certRFC9440: field(own.der) });
    for (const occasion of ["the first", "the second"]) {
      await assert.rejects(open(t, options).connected(), { code: 0x87 }, occasion);
      const event = JSON.parse((await root.next(topic)).payload.toString());
      assert.equal(event.certificateId, own.fingerprint, occasion);
      assert.equal(event.caCertificateId, authority.id);
      assert.equal(event.certificateStatus, "PENDING_ACTIVATION");
      assert.equal(event.awsAccountId, contract.accountId);
    }
    assert.equal((await describe(own.fingerprint)).status, "PENDING_ACTIVATION");

    const { policyName } = await device(t, OWN);
    const target = `arn:aws:iot:${contract.region}:${contract.accountId}:cert/${own.fingerprint}`;
    await iot.send(new AttachPolicyCommand({ policyName, target }));
    await iot.send(new UpdateCertificateCommand({ certificateId: own.fingerprint, newStatus: "ACTIVE" }));
    await open(t, options).connected();
    await iot.send(new UpdateCertificateCommand({ certificateId: own.fingerprint, newStatus: "INACTIVE" }));
    await iot.send(new DeleteCertificateCommand({ certificateId: own.fingerprint, forceDelete: true }));
  });

  test("is not registered when its authority does not say so, or did not sign it", async (t) => {
    const [quiet, eager] = [newAuthority(t, "/CN=quiet"), newAuthority(t, "/CN=eager")];
    await register(t, quiet);
    await register(t, eager, { allowAutoRegistration: true });
    const impostor = newAuthority(t, "/CN=eager");
    for (const own of [quiet.issue("a"), impostor.issue("b")]) {
      await assert.rejects(open(t, verified(own.fingerprint, { certRFC9440: field(own.der) })).connected(), { code: 0x87 });
      await assert.rejects(describe(own.fingerprint), { name: "ResourceNotFoundException" });
    }
  });
});

test("a device proves the key of its certificate in TLS, and only with its own", async (t) => {
  const authority = newAuthority(t);
  await register(t, authority);
  const front = await mutualTlsInFront(t, authority.pem);
  const [own, stranger] = [authority.issue("lamp"), newAuthority(t).issue("lamp")];
  await iot.send(new RegisterCertificateCommand({ certificatePem: own.pem, status: "ACTIVE" }));
  const { policyName } = await device(t, OWN);
  await iot.send(new AttachPolicyCommand({ policyName, target: `arn:aws:iot:${contract.region}:${contract.accountId}:cert/${own.fingerprint}` }));
  const options = ({ pem, privateKey }) => ({
    username: undefined,
    password: undefined,
    transformWsUrl: () => `wss://localhost:${front.port}/mqtt`,
    wsOptions: { ca: front.ca, cert: pem, key: privateKey.export({ type: "pkcs8", format: "pem" }), headers: { "MF-CF-Blob": "forged" } },
  });
  const client = open(t, options(own));
  await client.connected();
  await client.publish(`${client.id}/state`, "on", { qos: 1 });
  await assert.rejects(open(t, options(stranger)).connected(), { code: 0x87 });
  const nobody = { ...options(own), wsOptions: { ca: front.ca } };
  await assert.rejects(open(t, nobody).connected(), { code: 0x87 });
  await iot.send(new UpdateCertificateCommand({ certificateId: own.fingerprint, newStatus: "INACTIVE" }));
  await iot.send(new DeleteCertificateCommand({ certificateId: own.fingerprint, forceDelete: true }));
});

test("a device comes through a relay that shares a secret with the deployment, and through no other", async (t) => {
  const secret = "a secret of the relay's and ours";
  await restart({ RELAY_SECRET: secret });
  const own = await device(t, [...OWN, ["Allow", "Publish", "topic/relayed"]]);
  const host = new URL(contract.endpoint).hostname;
  // the wire form of crates/device-auth/src/relay_header.rs
  const header = (told = {}, key = secret) => {
    const certificate = new X509Certificate(own.pem).raw.toString("base64");
    const client = { issuedAt: Date.now(), certificate, chainVerified: true, host, sourceIp: null, ...told };
    const signed = `1.${Buffer.from(JSON.stringify(client)).toString("base64url")}`;
    const derived = hkdfSync("sha256", key, "umbra internal key v1", "relay certificate", 32);
    return { "x-umbra-relay-certificate": `${signed}.${createHmac("sha256", Buffer.from(derived)).update(signed).digest("base64url")}` };
  };
  const options = (headers) => ({ username: undefined, password: undefined, wsOptions: { headers } });
  const publish = (headers) => fetch(`${contract.endpoint}/topics/relayed`, { method: "POST", headers, body: "x" });
  const client = open(t, options(header()));
  await client.connected();
  await client.publish(`${client.id}/state`, "on", { qos: 1 });
  assert.equal((await publish(header())).status, 200);
  for (const wrong of [header({}, "another secret of a relay's"), header({ issuedAt: Date.now() - 31_000 }), header({ host: "elsewhere" })]) {
    assert.equal((await publish(wrong)).status, 403);
    await assert.rejects(open(t, options(wrong)).connected());
  }
});

suite("a certificate", { concurrency: true }, () => {
  const own = contract.accountId;
  const create = async () => {
    const { csr } = newRequest("/CN=moving");
    return (await iot.send(new CreateCertificateFromCsrCommand({ certificateSigningRequest: csr }))).certificateId;
  };

  test("is handed over, and comes back when the transfer is rejected or cancelled", async () => {
    const certificateId = await create();
    const transfer = (targetAwsAccount) => iot.send(new TransferCertificateCommand({ certificateId, targetAwsAccount, transferMessage: "yours" }));
    await transfer(own);
    await assert.rejects(transfer(own), { name: "CertificateStateException" });
    assert.equal((await describe(certificateId)).status, "PENDING_TRANSFER");
    const { outgoingCertificates } = await iot.send(new ListOutgoingCertificatesCommand({ pageSize: 250 }));
    const outgoing = outgoingCertificates.find((one) => one.certificateId === certificateId);
    assert.deepEqual([outgoing.transferredTo, outgoing.transferMessage], [own, "yours"]);
    await iot.send(new RejectCertificateTransferCommand({ certificateId, rejectReason: "not mine" }));
    const rejected = await describe(certificateId);
    assert.deepEqual([rejected.status, rejected.transferData.rejectReason], ["INACTIVE", "not mine"]);
    await assert.rejects(iot.send(new AcceptCertificateTransferCommand({ certificateId })), { name: "TransferAlreadyCompletedException" });

    await transfer("999988887777");
    await assert.rejects(iot.send(new AcceptCertificateTransferCommand({ certificateId })), { name: "ResourceNotFoundException" });
    await iot.send(new CancelCertificateTransferCommand({ certificateId }));
    assert.equal((await describe(certificateId)).status, "INACTIVE");

    await transfer(own);
    await iot.send(new AcceptCertificateTransferCommand({ certificateId, setAsActive: true }));
    const accepted = await describe(certificateId);
    assert.deepEqual([accepted.status, accepted.previousOwnedBy], ["ACTIVE", own]);
    await assert.rejects(transfer(own), { name: "CertificateStateException" });
    await iot.send(new UpdateCertificateCommand({ certificateId, newStatus: "INACTIVE" }));
    await iot.send(new DeleteCertificateCommand({ certificateId }));
  });

  test("belongs to things, whose names its policies can ask for", async (t) => {
    const thingName = unique("thing");
    await iot.send(new CreateThingCommand({ thingName, attributePayload: { attributes: { room: "hall" } } }));
    const { fingerprint, arn } = await device(t, [
      ["Allow", "Connect", "client/*", { Bool: { "iot:Connection.Thing.IsAttached": "true" } }],
      ["Allow", "Publish", "topic/${iot:Connection.Thing.Attributes[room]}/${iot:Connection.Thing.ThingName}"],
    ]);
    const options = { ...verified(fingerprint), clientId: thingName };
    await assert.rejects(open(t, options).connected(), { code: 0x87 });
    await iot.send(new AttachThingPrincipalCommand({ thingName, principal: arn }));
    const client = open(t, options);
    await client.connected();
    await client.publish(`hall/${thingName}`, "x", { qos: 1 });
    await assert.rejects(client.mqtt.publishAsync(`kitchen/${thingName}`, "x", { qos: 1 }), { code: 0x87 });
    assert.deepEqual((await iot.send(new ListThingPrincipalsCommand({ thingName }))).principals, [arn]);
    assert.deepEqual((await iot.send(new ListPrincipalThingsCommand({ principal: arn }))).things, [thingName]);
    await assert.rejects(iot.send(new DeleteThingCommand({ thingName })), { name: "InvalidRequestException" });

    await iot.send(new DetachThingPrincipalCommand({ thingName, principal: arn }));
    await within(client.closed, "the connection's end");
    await iot.send(new DeleteThingCommand({ thingName }));
    await assert.rejects(iot.send(new AttachThingPrincipalCommand({ thingName, principal: arn })), { name: "ResourceNotFoundException" });
  });

  test("that has a thing to itself is that thing, whatever its client id", async (t) => {
    const [thingName, other] = [unique("thing"), unique("thing")];
    for (const name of [thingName, other]) await iot.send(new CreateThingCommand({ thingName: name }));
    const { fingerprint, arn } = await device(t, [["Allow", "Connect", "client/*"], ["Allow", "Publish", "topic/${iot:Connection.Thing.ThingName}"]]);
    await iot.send(new AttachThingPrincipalCommand({ thingName, principal: arn, thingPrincipalType: "EXCLUSIVE_THING" }));
    await assert.rejects(iot.send(new AttachThingPrincipalCommand({ thingName: other, principal: arn })), { name: "InvalidRequestException" });
    const client = open(t, verified(fingerprint));
    await client.connected();
    await client.publish(thingName, "x", { qos: 1 });
    await iot.send(new DetachThingPrincipalCommand({ thingName, principal: arn }));
    for (const name of [thingName, other]) await iot.send(new DeleteThingCommand({ thingName: name }));
  });
});

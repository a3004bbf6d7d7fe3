// Devices with certificates, as Cloudflare would let them in.

import { execFileSync } from "node:child_process";
import { X509Certificate, createPrivateKey, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  AttachPolicyCommand,
  CreatePolicyCommand,
  DeleteCertificateCommand,
  DeletePolicyCommand,
  DetachPolicyCommand,
  RegisterCertificateWithoutCACommand,
  UpdateCertificateCommand,
} from "@aws-sdk/client-iot";
import { contract, iot, unique } from "./platform.mjs";

/** What a device does that keeps to topics below its own client id. */
export const OWN_TOPICS = [
  ["Allow", "Connect", "client/${iot:ClientId}"],
  ["Allow", "Publish", "topic/${iot:ClientId}/*"],
  ["Allow", "Subscribe", "topicfilter/${iot:ClientId}/*"],
  ["Allow", "Receive", "topic/${iot:ClientId}/*"],
];

const KEYS = {
  ES256: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
  ES384: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
  EdDSA: ["-newkey", "ed25519"],
  RS256: ["-newkey", "rsa:2048"],
};

/** A self-signed certificate, whose key signs with this algorithm of RFC 7518: who registers it vouches for it. */
export function newCertificate(commonName, algorithm = "ES256") {
  const directory = mkdtempSync(join(tmpdir(), "umbra-device-"));
  const path = (name) => join(directory, name);
  const subject = ["-subj", `/CN=${commonName}/O=Example`, "-days", "2"];
  const key = [...KEYS[algorithm], "-nodes", "-keyout", path("key.pem")];
  execFileSync("openssl", ["req", "-x509", ...key, ...subject, "-out", path("cert.pem")], { stdio: "ignore" });
  const pem = readFileSync(path("cert.pem"), "utf8");
  const privateKey = createPrivateKey(readFileSync(path("key.pem")));
  rmSync(directory, { recursive: true });
  const fingerprint = new X509Certificate(pem).fingerprint256.replaceAll(":", "").toLowerCase();
  return { pem, privateKey, algorithm, fingerprint, arn: `arn:aws:iot:${contract.region}:${contract.accountId}:cert/${fingerprint}` };
}

/** A JSON Web Token that the device has signed; `claims` and `header` replace some of what is in it. */
export function token({ fingerprint, privateKey, algorithm }, claims = {}, header = {}) {
  const now = Math.floor(Date.now() / 1_000);
  const whole = { aud: new URL(contract.mqtt).hostname, iat: now, exp: now + 600, sub: fingerprint, ...claims };
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: algorithm, kid: fingerprint, typ: "JWT", ...header })}.${part(whole)}`;
  const digest = { ES256: "sha256", ES384: "sha384", RS256: "sha256", EdDSA: null }[algorithm];
  const signature = sign(digest, Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

/** The options of a client whose certificate was verified in TLS; `told` replaces what is told of it. */
export function verified(fingerprint, told = {}) {
  const tlsClientAuth = {
    certPresented: "1",
    certVerified: "SUCCESS",
    certRevoked: "0",
    certFingerprintSHA256: fingerprint,
    localSecret: contract.localTlsSecret,
    ...told,
  };
  const headers = { "MF-CF-Blob": JSON.stringify({ tlsClientAuth }) };
  return { username: undefined, password: undefined, wsOptions: { headers } };
}

/** `["Allow", "Publish", "topic/a"]` and so on, as a policy's document. */
export function document(statements) {
  const statement = statements.map(([effect, action, resource, condition]) => ({
    Effect: effect,
    Action: `iot:${action}`,
    Resource: `arn:aws:iot:${contract.region}:${contract.accountId}:${resource}`,
    ...(condition ? { Condition: condition } : {}),
  }));
  return JSON.stringify({ Version: "2012-10-17", Statement: statement });
}

/** A registered certificate and a policy that is attached to it; they go with the test. */
export async function device(t, statements, status = "ACTIVE", algorithm = "ES256") {
  const certificate = newCertificate(unique("device"), algorithm);
  const policyName = unique("policy");
  await iot.send(new RegisterCertificateWithoutCACommand({ certificatePem: certificate.pem, status }));
  await iot.send(new CreatePolicyCommand({ policyName, policyDocument: document(statements) }));
  await iot.send(new AttachPolicyCommand({ policyName, target: certificate.arn }));
  t.after(async () => {
    await iot.send(new DetachPolicyCommand({ policyName, target: certificate.arn }));
    await iot.send(new UpdateCertificateCommand({ certificateId: certificate.fingerprint, newStatus: "INACTIVE" }));
    await iot.send(new DeleteCertificateCommand({ certificateId: certificate.fingerprint, forceDelete: true }));
    // one with several versions stays: the platform ends with the tests
    await iot.send(new DeletePolicyCommand({ policyName })).catch(() => {});
  });
  return { ...certificate, policyName };
}

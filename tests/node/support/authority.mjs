// Certificate authorities of an owner, made by openssl.

import { execFileSync } from "node:child_process";
import { X509Certificate, createPrivateKey } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unique } from "./platform.mjs";

const CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "pipe", "ignore"] });

export const idOf = (pem) => new X509Certificate(pem).fingerprint256.replaceAll(":", "").toLowerCase();

/** A request for a certificate, and the key that signed it. */
export function newRequest(subject) {
  const directory = mkdtempSync(join(tmpdir(), "umbra-csr-"));
  const path = (name) => join(directory, name);
  openssl("req", "-new", ...CURVE, "-subj", subject, "-keyout", path("key.pem"), "-out", path("csr.pem"));
  const made = { csr: readFileSync(path("csr.pem"), "utf8"), privateKey: createPrivateKey(readFileSync(path("key.pem"))) };
  rmSync(directory, { recursive: true });
  return made;
}

/** An authority; what it issues is signed when it is asked. It goes with the test. */
export function newAuthority(t, subject = `/O=Example/CN=${unique("authority")}`) {
  const directory = mkdtempSync(join(tmpdir(), "umbra-ca-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = (name) => join(directory, name);
  const extensions = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"];
  openssl("req", "-x509", ...CURVE, "-subj", subject, "-days", "3", ...extensions, "-keyout", path("ca.key"), "-out", path("ca.pem"));
  const pem = readFileSync(path("ca.pem"), "utf8");
  return {
    pem,
    id: idOf(pem),
    issue(commonName) {
      const { csr, privateKey } = newRequest(`/O=Example/CN=${commonName}`);
      writeFileSync(path("csr.pem"), csr);
      openssl("x509", "-req", "-in", path("csr.pem"), "-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-CAcreateserial", "-days", "2", "-out", path("cert.pem"));
      const issued = readFileSync(path("cert.pem"), "utf8");
      return { pem: issued, privateKey, algorithm: "ES256", fingerprint: idOf(issued), der: new X509Certificate(issued).raw };
    },
  };
}

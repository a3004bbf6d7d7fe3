// A certificate authority for this machine and a certificate for localhost, both made by openssl.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const WEEK_SECONDS = "604800";

const EXTENSIONS = `basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,IP:127.0.0.1
`;

function openssl(directory, ...args) {
  execFileSync("openssl", args, { cwd: directory, stdio: ["ignore", "ignore", "pipe"] });
}

function isGoodForAWeek(directory) {
  if (!["ca.pem", "cert.pem", "key.pem"].every((name) => existsSync(join(directory, name)))) return false;
  try {
    for (const name of ["ca.pem", "cert.pem"]) openssl(directory, "x509", "-checkend", WEEK_SECONDS, "-noout", "-in", name);
    return true;
  } catch {
    return false;
  }
}

/** Paths of the CA certificate to trust and of the server's certificate and key, made anew when they are missing or about to expire. */
export function loadOrCreateCertificate(directory) {
  if (!isGoodForAWeek(directory)) {
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeFileSync(join(directory, "extensions.cnf"), EXTENSIONS);
    const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    // 825 days: Apple's clients refuse server certificates that are valid for longer
    openssl(directory, "req", "-x509", ...newKey, "-keyout", "ca-key.pem", "-out", "ca.pem", "-days", "825", "-subj", "/CN=Umbra local CA");
    openssl(directory, "req", ...newKey, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost");
    openssl(
      directory,
      ...["x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial"],
      ...["-out", "cert.pem", "-days", "825", "-extfile", "extensions.cnf"],
    );
  }
  return { caPath: join(directory, "ca.pem"), certPath: join(directory, "cert.pem"), keyPath: join(directory, "key.pem") };
}

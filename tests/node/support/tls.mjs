// TLS in front of the platform, for clients that speak nothing else: it ends here, the bytes go on as they are.

import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { createServer } from "node:https";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { loadOrCreateCertificate } from "../../../xtask/host/tls.mjs";
import { contract } from "./platform.mjs";

/** A port on localhost that speaks TLS, and the CA to trust. It ends with the test. */
export async function tlsInFront(t) {
  const directory = mkdtempSync(join(tmpdir(), "umbra-tls-"));
  const { caPath, certPath, keyPath } = loadOrCreateCertificate(join(directory, "tls"));
  const { hostname, port } = new URL(contract.endpoint);
  const clients = new Set();
  const server = tls.createServer({ cert: readFileSync(certPath), key: readFileSync(keyPath) }, (client) => {
    clients.add(client);
    const platform = net.connect(Number(port), hostname);
    client.pipe(platform).pipe(client);
    client.on("error", () => platform.destroy());
    client.on("close", () => platform.destroy());
    platform.on("error", () => client.destroy());
    platform.on("close", () => client.destroy());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    for (const client of clients) client.destroy();
    rmSync(directory, { recursive: true, force: true });
  });
  return { port: server.address().port, ca: caPath };
}

/**
 * A port on localhost that asks clients for their certificates, as Cloudflare does on a zone that wants them, and tells the
 * platform what it has seen: whoever holds the key of a certificate that `authority` has signed is verified.
 */
export async function mutualTlsInFront(t, authority) {
  const directory = mkdtempSync(join(tmpdir(), "umbra-mtls-"));
  const { caPath, certPath, keyPath } = loadOrCreateCertificate(join(directory, "tls"));
  const platform = new URL(contract.endpoint);
  const options = { cert: readFileSync(certPath), key: readFileSync(keyPath), ca: authority, requestCert: true, rejectUnauthorized: false };
  const forwarded = (request) => {
    const { raw } = request.socket.getPeerCertificate();
    const tlsClientAuth = raw
      ? {
          certPresented: "1",
          certVerified: request.socket.authorized ? "SUCCESS" : `FAILED:${request.socket.authorizationError}`,
          certRevoked: "0",
          certFingerprintSHA256: new X509Certificate(raw).fingerprint256.replaceAll(":", "").toLowerCase(),
          certRFC9440: `:${raw.toString("base64")}:`,
          localSecret: contract.localTlsSecret,
        }
      : { certPresented: "0", certVerified: "NONE" };
    const headers = { ...request.headers, "mf-cf-blob": JSON.stringify({ tlsClientAuth }) };
    return { host: platform.hostname, port: platform.port, method: request.method, path: request.url, headers };
  };
  const server = createServer(options, (request, response) => {
    const onward = httpRequest(forwarded(request), (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    request.pipe(onward);
  });
  server.on("upgrade", (request, socket) => {
    const onward = httpRequest(forwarded(request));
    onward.on("upgrade", (answer, platformSocket) => {
      const lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}\r\n`).join("");
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines}\r\n`);
      platformSocket.pipe(socket).pipe(platformSocket);
      for (const [one, other] of [[socket, platformSocket], [platformSocket, socket]]) {
        one.on("error", () => other.destroy());
        one.on("close", () => other.destroy());
      }
    });
    onward.on("response", (answer) => socket.end(`HTTP/1.1 ${answer.statusCode} Refused\r\n\r\n`));
    onward.end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return { port: server.address().port, ca: readFileSync(caPath) };
}

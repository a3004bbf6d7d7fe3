// TLS in front of the platform, for clients that speak nothing else: it ends here, the bytes go on as they are.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
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

// A web server on this machine that takes what rules send.

import { createServer } from "node:http";
import { within } from "./platform.mjs";

/**
 * Starts a server that answers with `answer(path, earlier)`, an HTTP status, where `earlier` counts the requests on
 * that path before this one. It ends with its test.
 */
export async function startWebhook(t, answer = () => 200) {
  const requests = [];
  const watchers = new Set();
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    const status = answer(request.url, requests.filter(({ path }) => path === request.url).length);
    requests.push({ method: request.method, path: request.url, headers: request.headers, body, at: Date.now(), status });
    response.writeHead(status);
    response.end();
    for (const watcher of watchers) watcher();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const on = (path) => requests.filter((request) => request.path === path);
  return {
    url: (path) => `http://127.0.0.1:${server.address().port}${path}`,
    /** What has come to `path` so far. */
    on,
    /** What has come to `path`, once it is `count` requests. */
    async until(path, count = 1) {
      let watcher;
      const here = new Promise((resolve) => {
        watcher = () => on(path).length >= count && resolve();
        watchers.add(watcher);
        watcher();
      });
      await within(here, `${count} requests on ${path}`, 30_000).finally(() => watchers.delete(watcher));
      return on(path);
    },
  };
}

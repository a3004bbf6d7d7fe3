// The back door of the system tests: what a client cannot do, such as firing the cron trigger or evicting an object. It exists only
// when the harness asks for it, on its own random port, and needs the token that the ready line carries.

import { randomBytes, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const BODY_LIMIT_BYTES = 64 * 1024;

async function readJson(request) {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > BODY_LIMIT_BYTES) throw new Error("the body is too large");
  }
  return text === "" ? {} : JSON.parse(text);
}

/** What can be asked for, each as POST with a JSON object. */
function actions(platform, crons) {
  return {
    "/cron": async ({ cron, time }) => {
      const date = time === undefined ? new Date() : new Date(time);
      const fired = cron === undefined ? crons : [cron];
      const results = [];
      for (const one of fired) results.push({ cron: one, ...(await platform.cron(one, date)) });
      return { fired: results };
    },
    "/evict": async ({ className, name, webSockets }) => {
      await platform.evict(className, name, webSockets);
      return {};
    },
    "/restart": async ({ vars }) => {
      await platform.restart(vars);
      return {};
    },
    "/kill": async () => {
      await platform.kill();
      return {};
    },
  };
}

/** Starts the server and answers `{ url, token, close }`. */
export async function startControl(platform, crons) {
  const token = randomBytes(24).toString("base64url");
  const expected = Buffer.from(`Bearer ${token}`);
  const table = actions(platform, crons);

  const server = createServer(async (request, response) => {
    const answer = (status, body) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    const given = Buffer.from(request.headers.authorization ?? "");
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return answer(401, { error: "wrong token" });
    const action = request.method === "POST" && Object.hasOwn(table, request.url) ? table[request.url] : undefined;
    if (!action) return answer(404, { error: `POST one of ${Object.keys(table).join(", ")}` });
    try {
      answer(200, await action(await readJson(request)));
    } catch (error) {
      answer(500, { error: String(error?.message ?? error) });
    }
  });
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    token,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

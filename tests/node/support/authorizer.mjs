// Custom authorizers, whose functions are web servers of the tests.

import { createServer } from "node:http";
import { once } from "node:events";
import { CreateAuthorizerCommand, DeleteAuthorizerCommand, UpdateAuthorizerCommand } from "@aws-sdk/client-iot";
import { OWN_TOPICS as OWN, document } from "./device.mjs";
import { iot, unique } from "./platform.mjs";

/** A function that answers as `answer(event)` says, and what it was told. */
export async function authorizerFunction(t, answer) {
  const events = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const event = JSON.parse(Buffer.concat(chunks));
    events.push(event);
    const { status = 200, ...body } = await answer(event);
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return { url: `http://127.0.0.1:${server.address().port}/authorize`, events };
}

/** The answer of a function that lets a client do this. */
export const allowed = (statements = OWN, more = {}) => ({
  isAuthenticated: true,
  principalId: "Someone1",
  disconnectAfterInSeconds: 86_400,
  refreshAfterInSeconds: 300,
  policyDocuments: [document(statements)],
  ...more,
});

/** An authorizer with this function; it goes with the test. */
export async function authorizer(t, url, options = { signingDisabled: true }) {
  const authorizerName = unique("authorizer");
  await iot.send(new CreateAuthorizerCommand({ authorizerName, authorizerFunctionArn: url, status: "ACTIVE", ...options }));
  t.after(async () => {
    await iot.send(new UpdateAuthorizerCommand({ authorizerName, status: "INACTIVE" })).catch(() => {});
    await iot.send(new DeleteAuthorizerCommand({ authorizerName })).catch(() => {});
  });
  return authorizerName;
}

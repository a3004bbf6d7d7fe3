// Prints rows of sdk-vectors.tsv signed by the AWS SDK for JavaScript v3 and by aws-crt (see README.md beside this file).
//
// Needs `npm install @aws-sdk/client-iot @aws-sdk/client-iot-data-plane @smithy/signature-v4 @smithy/protocol-http
// @aws-crypto/sha256-js aws-crt`. Run: node generate_sdk_vectors.mjs
import { Sha256 } from "@aws-crypto/sha256-js";
import { IoTClient, ListThingsCommand, CreateThingCommand } from "@aws-sdk/client-iot";
import { IoTDataPlaneClient, PublishCommand, GetThingShadowCommand } from "@aws-sdk/client-iot-data-plane";
import { HttpRequest, HttpResponse } from "@smithy/protocol-http";
import { SignatureV4 } from "@smithy/signature-v4";
import crt from "aws-crt";

const KEY = "AKIDEXAMPLEEXAMPLE";
const SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN = "FQoGZXIvYXdzEPT//////////wEaDEXAMPLE+token/with=specials==";
const HOST = "abc123-ats.iot.us-east-1.amazonaws.com";
const NOW = new Date("2025-01-30T12:34:56Z");
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...values) { values.length ? super(...values) : super(NOW); }
  static now() { return NOW.getTime(); }
};

const escape = (text) => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t");
const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
const queryText = (query = {}) =>
  Object.keys(query).flatMap((k) => [query[k]].flat().map((v) => (v === null ? encode(k) : `${encode(k)}=${encode(v)}`))).join("&");
const print = (name, service, token, method, path, query, headers, body) =>
  console.log([name, service, token ?? "", method, path, query, headers.filter(([k]) => k.toLowerCase() !== "user-agent").map(([k, v]) => `${k}:${v}`).join("\n"), body ?? ""].map(escape).join("\t"));
const printRequest = (name, service, token, r) => {
  const body = r.body === undefined ? "" : typeof r.body === "string" ? r.body : Buffer.from(r.body).toString("utf8");
  print(name, service, token, r.method, r.path, queryText(r.query), Object.entries(r.headers), body);
};

async function client(name, Client, service, command, token) {
  const requestHandler = {
    async handle(request) {
      printRequest(name, service, token, request);
      return { response: new HttpResponse({ statusCode: 200, headers: {}, body: new Uint8Array(Buffer.from("{}")) }) };
    },
    destroy() {},
  };
  const made = new Client({
    region: "us-east-1", endpoint: `https://${HOST}`, requestHandler,
    credentials: { accessKeyId: KEY, secretAccessKey: SECRET, sessionToken: token },
  });
  await made.send(command).catch((error) => console.error(name, error.message));
}

async function smithy(name, { path, query = {}, token, appendToken, presign = true, service = "iotdevicegateway", headers = {} }) {
  const signer = new SignatureV4({
    service, region: "us-east-1", sha256: Sha256,
    credentials: { accessKeyId: KEY, secretAccessKey: SECRET, sessionToken: appendToken ? undefined : token },
  });
  const request = new HttpRequest({ method: "GET", protocol: presign ? "wss:" : "https:", hostname: HOST, path, query, headers: { host: HOST, ...headers } });
  const signed = presign ? await signer.presign(request, { signingDate: NOW, expiresIn: 900 }) : await signer.sign(request, { signingDate: NOW });
  if (appendToken) signed.query["X-Amz-Security-Token"] = token;
  printRequest(name, service, token, signed);
}

async function native(name, { token, path, type, service = "iotdevicegateway", expires }) {
  const request = new crt.http.HttpRequest("GET", path, new crt.http.HttpHeaders([["Host", HOST], ["Upgrade", "websocket"], ["Connection", "Upgrade"],
    ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="], ["Sec-WebSocket-Version", "13"], ["Sec-WebSocket-Protocol", "mqtt"]]));
  await crt.auth.aws_sign_request(request, {
    algorithm: crt.auth.AwsSigningAlgorithm.SigV4, signature_type: type,
    provider: crt.auth.AwsCredentialsProvider.newStatic(KEY, SECRET, token), region: "us-east-1", service, date: NOW,
    signed_body_value: crt.auth.AwsSignedBodyValue.EmptySha256, omit_session_token: true, expiration_in_seconds: expires,
  });
  const [before, after = ""] = request.path.split("?");
  print(name, service, token, "GET", before, after, request.headers._flatten(), "");
}

await client("js publish", IoTDataPlaneClient, "iotdata", new PublishCommand({ topic: "a/b c/é!*'()", qos: 1, payload: "hello" }));
await client("js publish retained", IoTDataPlaneClient, "iotdata", new PublishCommand({ topic: "$aws/rules/r", retain: true, payload: "{}", contentType: "text/plain" }), TOKEN);
await client("js get shadow", IoTDataPlaneClient, "iotdata", new GetThingShadowCommand({ thingName: "a:b", shadowName: "$n" }));
await client("js create thing", IoTClient, "iot", new CreateThingCommand({ thingName: "a:b", attributePayload: { attributes: { k: "v" } } }));
await client("js list things", IoTClient, "iot", new ListThingsCommand({ nextToken: "a/b+c==", maxResults: 5 }));
await smithy("js presigned", { path: "/mqtt" });
await smithy("js presigned, token signed", { path: "/mqtt", token: TOKEN });
await smithy("js presigned, token appended", { path: "/mqtt", token: TOKEN, appendToken: true });
await smithy("js presigned, hoisted content hash", { path: "/mqtt", headers: { "x-amz-content-sha256": "UNSIGNED-PAYLOAD" } });
await smithy("js signed path", { path: "/topics/a%2Fb/!'()*~", presign: false, service: "iotdata" });
const { HttpRequestViaQueryParams, HttpRequestViaHeaders } = crt.auth.AwsSignatureType;
await native("crt websocket", { path: "/mqtt", type: HttpRequestViaQueryParams });
await native("crt websocket with a token", { path: "/mqtt", type: HttpRequestViaQueryParams, token: TOKEN });
await native("crt websocket that expires", { path: "/mqtt", type: HttpRequestViaQueryParams, expires: 60 });
await native("crt headers", { path: "/things/a%3Ab/shadow?name=a%2Fb%20c", type: HttpRequestViaHeaders, service: "iotdata" });

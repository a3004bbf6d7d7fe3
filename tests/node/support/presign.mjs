// SigV4 for the WebSocket upgrade, as AWS's documentation describes it and independent of the SDK and of the platform.

import { createHash, createHmac } from "node:crypto";
import { contract } from "./platform.mjs";

const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const hmac = (key, text) => createHmac("sha256", key).update(text).digest();

/** RFC 3986: what encodeURIComponent leaves alone and SigV4 does not. */
const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

/** A presigned `ws:` URL of the platform; every part of what is signed can be another one. */
export function presign({
  accessKeyId = contract.accessKeyId,
  secretAccessKey = contract.secretAccessKey,
  region = contract.region,
  service = "iotdevicegateway",
  date = new Date(),
  expiresSeconds = 300,
  signedPath = "/mqtt",
  host = new URL(contract.mqtt).host,
  signedToken,
  appendedToken,
} = {}) {
  const timestamp = date.toISOString().replace(/[-:]|\.\d{3}/g, "");
  const scope = `${timestamp.slice(0, 8)}/${region}/${service}/aws4_request`;
  const parameters = {
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": `${accessKeyId}/${scope}`,
    "X-Amz-Date": timestamp,
    "X-Amz-Expires": String(expiresSeconds),
    ...(signedToken ? { "X-Amz-Security-Token": signedToken } : {}),
    "X-Amz-SignedHeaders": "host",
  };
  // their names are in the order of bytes already
  const query = Object.entries(parameters).map(([name, value]) => `${name}=${encode(value)}`).join("&");
  const canonicalRequest = ["GET", signedPath, query, `host:${host}`, "", "host", sha256("")].join("\n");
  const stringToSign = ["AWS4-HMAC-SHA256", timestamp, scope, sha256(canonicalRequest)].join("\n");
  const key = scope.split("/").reduce(hmac, `AWS4${secretAccessKey}`);
  const token = appendedToken ? `&X-Amz-Security-Token=${encode(appendedToken)}` : "";
  // the signature comes last, so that a test can change it
  return `${contract.mqtt}?${query}${token}&X-Amz-Signature=${hmac(key, stringToSign).toString("hex")}`;
}

/** A request to an operation that AWS's SDK does not know, signed as the control plane's are. */
export async function signedFetch(method, path, body) {
  const { accessKeyId, secretAccessKey, region } = contract;
  const url = new URL(path, contract.endpoint);
  const payload = body === undefined ? "" : JSON.stringify(body);
  const timestamp = new Date().toISOString().replace(/[-:]|\.\d{3}/g, "");
  const scope = `${timestamp.slice(0, 8)}/${region}/iot/aws4_request`;
  const headers = { host: url.host, "x-amz-content-sha256": sha256(payload), "x-amz-date": timestamp };
  const names = Object.keys(headers).join(";");
  const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`).join("");
  const canonicalRequest = [method, url.pathname, url.search.slice(1), lines, names, sha256(payload)].join("\n");
  const stringToSign = ["AWS4-HMAC-SHA256", timestamp, scope, sha256(canonicalRequest)].join("\n");
  const key = scope.split("/").reduce(hmac, `AWS4${secretAccessKey}`);
  const signature = hmac(key, stringToSign).toString("hex");
  const authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`;
  return fetch(url, { method, headers: { ...headers, authorization }, body: payload || undefined });
}

// The entry of the Worker: what Cloudflare calls, handed to the wasm module.
//
// Everything is decided in Rust. This folder holds only what Rust can't be: classes that extend DurableObject (so
// that objects can call each other by RPC), timers, and the socket calls of the hot path, which hand bytes to
// synchronous exports.

import { WorkerEntrypoint } from "cloudflare:workers";
import { Broker } from "./broker.js";
import { guarded, internalError, wasm } from "./module.js";
import { objectClass } from "./object.js";

export { Broker };
export const Router = objectClass((...args) => new wasm.RouterObject(...args));
export const Sessions = objectClass((...args) => new wasm.SessionsObject(...args));
export const Thing = objectClass((...args) => new wasm.ThingObject(...args));
export const BrokerPool = objectClass((...args) => new wasm.PoolObject(...args));
export const Job = objectClass((...args) => new wasm.JobObject(...args));

export default class Gateway extends WorkerEntrypoint {
  async fetch(request) {
    try {
      return await guarded(() => wasm.fetch(request, this.env, this.ctx));
    } catch (error) {
      return internalError(error);
    }
  }

  async queue(batch) {
    // A failure makes the whole batch come again, which is what at-least-once asks for.
    await guarded(() => wasm.queue(batch, this.env, this.ctx));
  }

  async scheduled(event) {
    await guarded(() => wasm.scheduled(event, this.env, this.ctx));
  }
}

// For `wasm-bindgen-test` in Node: the `worker` crate imports `cloudflare:*`, which only workerd has. Tests do not call into them.

import { registerHooks } from "node:module";

const STUB = `
  class Stub { constructor(ctx, env) { this.ctx = ctx; this.env = env; } }
  export { Stub as DurableObject, Stub as EmailMessage, Stub as RpcTarget, Stub as WorkerEntrypoint };
  export const env = {};
  export const connect = () => { throw new Error("no sockets here"); };
`;

registerHooks({
  resolve: (specifier, context, next) =>
    specifier.startsWith("cloudflare:")
      ? { url: `data:text/javascript,${encodeURIComponent(STUB)}`, format: "module", shortCircuit: true }
      : next(specifier, context),
});

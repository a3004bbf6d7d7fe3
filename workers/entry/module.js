// The wasm module and what happens when it fails.
//
// A panic unwinds: it ends one call with an exception and leaves the module as it was. A trap (out of memory, stack
// overflow) can't be unwound: the module is instantiated anew, and every object rebuilds itself from its storage.

import * as wasm from "umbra-wasm";

export { wasm };

let generation = 0;

/** Counts the instances of the module; objects of an earlier one must be built again. */
export function moduleGeneration() {
  return generation;
}

/** Runs a call into the module; after a trap, replaces the instance before passing the error on. */
export function guarded(call) {
  try {
    const result = call();
    return result instanceof Promise ? result.catch(passOn) : result;
  } catch (error) {
    return passOn(error);
  }
}

function passOn(error) {
  if (error instanceof WebAssembly.RuntimeError) {
    console.error(JSON.stringify({ level: "error", event: "module_reset", reason: String(error) }));
    generation += 1;
    wasm.__wbg_reset_state();
  }
  throw error;
}

/** The answer to a request whose handling failed: what went wrong stays in the log. */
export function internalError(error) {
  const requestId = crypto.randomUUID();
  console.error(JSON.stringify({ level: "error", event: "request_failed", request_id: requestId, reason: String(error) }));
  const body = JSON.stringify({ message: "An internal failure occurred.", traceId: requestId });
  return new Response(body, {
    status: 500,
    headers: {
      "content-type": "application/json",
      "x-amzn-ErrorType": "InternalFailureException",
      "x-amzn-RequestId": requestId,
    },
  });
}

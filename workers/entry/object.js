// What all Durable Object classes share: one RPC method, one timer, one alarm.

import { DurableObject } from "cloudflare:workers";
import { guarded, moduleGeneration, wasm } from "./module.js";
import { packRows } from "./rows.js";
import { Counts } from "./test_hooks.js";

/** A class whose objects answer packed calls; `build` makes the Rust half from (ctx, env, host). */
export function objectClass(build) {
  return class extends UmbraObject {
    build(host) {
      return build(this.ctx, this.env, host);
    }
  };
}

export class UmbraObject extends DurableObject {
  #rust;
  #generation = -1;
  #timer;
  #timerAt = Infinity;
  #stubs = new Map();

  /** The Rust half, built on first use and again after the module had to be replaced. */
  get rust() {
    if (this.#generation !== moduleGeneration()) {
      this.#rust = this.build(this.#counted(this.#host()));
      this.#generation = moduleGeneration();
    }
    return this.#rust;
  }

  /** The internal bus: a packed batch in, its replies out. */
  call(bytes) {
    return guarded(() => this.rust.call(bytes, Date.now()));
  }

  alarm() {
    guarded(() => this.rust.alarm(Date.now()));
  }

  #host() {
    return {
      schedule: (delayMillis) => this.#schedule(delayMillis),
      call: (binding, name, bytes) => this.#call(binding, name, bytes),
      setAlarm: (at) => this.ctx.storage.setAlarm(at),
      transaction: (act) => this.ctx.storage.transactionSync(() => {
        if (!act()) throw new Error("rolled back");
      }),
      rows: (statement, bindings, limit) => packRows(this.ctx.storage.sql.exec(statement, ...bindings), limit),
      run: (statement, bindings) => void this.ctx.storage.sql.exec(statement, ...bindings),
      databaseSize: () => this.ctx.storage.sql.databaseSize,
      enqueue: (binding, bytes) => this.env[binding].send(bytes, { contentType: "bytes" }),
    };
  }

  #counted(host) {
    if (!this.env.TEST_HOOKS) return host;
    this.counts ??= new Counts(this.ctx.storage);
    return this.counts.through(host);
  }

  /** Whether anything is under way that keeps the object awake. */
  get hasTimer() {
    return this.#timerAt !== Infinity;
  }

  /** Asks for `tick` after a delay. The earliest wish counts; a pending timer keeps the object awake. */
  #schedule(delayMillis) {
    const at = Date.now() + delayMillis;
    if (at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => {
      this.#timerAt = Infinity;
      guarded(() => this.rust.tick(Date.now()));
    }, delayMillis);
  }

  async #call(binding, name, bytes) {
    const key = `${binding}/${name}`;
    try {
      return await this.#stub(key, binding, name).call(bytes);
    } catch (error) {
      // A stub that has thrown may fail forever after: the next try gets a new one.
      this.#stubs.delete(key);
      throw error;
    }
  }

  #stub(key, binding, name) {
    let stub = this.#stubs.get(key);
    if (!stub) {
      // Things are many: the cache starts over rather than grow with them.
      if (this.#stubs.size >= 1024) this.#stubs.clear();
      const namespace = this.env[binding];
      const hint = guarded(() => wasm.location_hint(name, this.env.HOME_REGION));
      stub = namespace.get(namespace.idFromName(name), hint ? { locationHint: hint } : {});
      this.#stubs.set(key, stub);
    }
    return stub;
  }
}

// What the system tests may do to an object and ask it. Without the TEST_HOOKS binding, which only the test harness
// supplies, nothing here is reached, nothing is counted, and the paths are like any other.

import { guarded } from "./module.js";

/** What an object does that costs money, counted where JavaScript sees it go by. */
export class Counts {
  /** Calls of other objects, by binding. */
  calls = {};
  /** Messages put into a queue. */
  messages = 0;
  /** Rows written. */
  rows = 0;
  /** Alarms set, each of which the platform bills as a row. */
  alarms = 0;

  /** Counts what this storage is asked to write. */
  constructor({ sql }) {
    const { exec } = sql;
    sql.exec = (...query) => {
      const cursor = exec.apply(sql, query);
      this.rows += cursor.rowsWritten;
      return cursor;
    };
  }

  /** The same host, whose calls are counted. */
  through({ call, enqueue, setAlarm, ...host }) {
    return {
      ...host,
      call: (binding, ...rest) => {
        this.calls[binding] = (this.calls[binding] ?? 0) + 1;
        return call(binding, ...rest);
      },
      enqueue: (...body) => {
        this.messages += 1;
        return enqueue(...body);
      },
      setAlarm: (at) => {
        this.alarms += 1;
        return setAlarm(at);
      },
    };
  }
}

/** The answer of a Broker to the Worker's test hooks; `undefined` when it is asked for something else. */
export function answerTestHook(broker, { url }) {
  switch (new URL(url).pathname) {
    case "/__test/panic":
      return guarded(() => broker.rust.panic_for_test());
    case "/__test/trap":
      return guarded(() => broker.rust.trap_for_test());
    case "/__test/counts": {
      // none as long as nothing else has reached the object
      const counts = broker.counts ?? { calls: {}, messages: 0, rows: 0, alarms: 0 };
      return Response.json({ ...counts, isAtRest: !broker.hasTimer, hibernatable: broker.ctx.getWebSockets().length });
    }
  }
}

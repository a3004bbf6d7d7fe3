import assert from "node:assert/strict";
import { test } from "node:test";
import { isDue } from "./cron.mjs";

// expression, minute (UTC), due
const rows = [
  ["* * * * *", "2026-03-01T00:00:00Z", true],
  ["*/5 * * * *", "2026-03-01T00:10:00Z", true],
  ["*/5 * * * *", "2026-03-01T00:11:00Z", false],
  ["2/5 * * * *", "2026-03-01T00:07:00Z", true],
  ["0 3 * * *", "2026-03-01T03:00:00Z", true],
  ["0 3 * * *", "2026-03-01T04:00:00Z", false],
  ["0 9-17 * * 2-6", "2026-03-02T12:00:00Z", true], // a Monday
  ["0 9-17 * * 2-6", "2026-03-01T12:00:00Z", false], // a Sunday
  ["15,45 * 1 1 *", "2026-01-01T08:45:00Z", true],
  ["15,45 * 1 1 *", "2026-02-01T08:45:00Z", false],
];

test("a trigger is due exactly in the minutes that its expression names", () => {
  for (const [expression, minute, due] of rows) assert.equal(isDue(expression, new Date(minute)), due, `${expression} at ${minute}`);
});

test("an expression that cannot be read is refused whatever the minute", () => {
  for (const bad of ["* * * *", "60 * * * *", "* * * * MON", "*/0 * * * *", "9-5 * * * *", ""]) {
    assert.throws(() => isDue(bad, new Date(0)), /cron:/, bad);
  }
});

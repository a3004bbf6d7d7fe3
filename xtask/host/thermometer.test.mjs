import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Thermometer, parseReadings } from "./thermometer.mjs";

const READINGS = parseReadings("date,temp\n2010-01-01T01:00:00-08:00,50.0\n2010-01-01T02:00:00-08:00,46.9\n");

test("the data set has a year of hours", () => {
  const csv = readFileSync(new URL("../../node_modules/vega-datasets/data/sf-temps.csv", import.meta.url), "utf8");
  const readings = parseReadings(csv);
  assert.ok(readings.length > 8_000);
  assert.ok(readings.every(({ fahrenheit }) => fahrenheit > 20 && fahrenheit < 110));
});

test("readings are replayed in order and begin again after the last", () => {
  const thermometer = new Thermometer(READINGS);
  assert.deepEqual([1, 2, 3].map(() => thermometer.measure().temp), [50, 46.9, 50]);
});

test("a desired unit and interval are obeyed once and nonsense is not", () => {
  const thermometer = new Thermometer(READINGS);
  assert.equal(thermometer.obey({ unit: "C", intervalSeconds: 5 }).length, 2);
  assert.equal(thermometer.obey({ unit: "C", intervalSeconds: 5 }).length, 0);
  assert.equal(thermometer.obey({ unit: "K", intervalSeconds: 0 }).length, 0);
  assert.deepEqual(thermometer.reported(10), { temperature: 10, unit: "C", intervalSeconds: 5 });
  assert.equal(thermometer.measure().temp, 10);
});

test("a calibration shifts what is measured and an unknown operation is rejected", () => {
  const thermometer = new Thermometer(READINGS);
  assert.equal(thermometer.runJob({ operation: "calibrate", offset: 1.5 }).status, "SUCCEEDED");
  assert.equal(thermometer.measure().temp, 51.5);
  for (const document of [{ operation: "explode" }, { operation: "calibrate", offset: "1" }, null]) {
    assert.equal(thermometer.runJob(document).status, "REJECTED");
  }
});

// The simulated device without its network: what it measures, which settings it has, and what it does when told to.

const UNITS = ["F", "C"];
const INTERVAL_SECONDS = { least: 1, most: 3600 };

/** `date,temp` lines, as in vega-datasets' sf-temps.csv: hourly, °F. */
export function parseReadings(csv) {
  const [header, ...rows] = csv.trim().split(/\r?\n/);
  if (header !== "date,temp") throw new Error(`expected the columns date,temp, not ${header}`);
  return rows.map((row) => {
    const [date, temperature] = row.split(",");
    return { date, fahrenheit: Number(temperature) };
  });
}

const roundToTenth = (number) => Math.round(number * 10) / 10;

export class Thermometer {
  #readings;
  #next = 0;
  #offsetFahrenheit = 0;
  unit = "F";
  intervalSeconds = 2;

  constructor(readings) {
    this.#readings = readings;
  }

  /** The next telemetry message; after the last reading it begins again. */
  measure() {
    const { date, fahrenheit } = this.#readings[this.#next];
    this.#next = (this.#next + 1) % this.#readings.length;
    const corrected = fahrenheit + this.#offsetFahrenheit;
    return { temp: roundToTenth(this.unit === "C" ? ((corrected - 32) * 5) / 9 : corrected), unit: this.unit, date };
  }

  /** Its shadow's reported state. */
  reported(lastTemperature) {
    return { temperature: lastTemperature, unit: this.unit, intervalSeconds: this.intervalSeconds };
  }

  /** Obeys a desired state as far as it makes sense, and says in words what changed. */
  obey(desired) {
    const changes = [];
    if (UNITS.includes(desired.unit) && desired.unit !== this.unit) {
      this.unit = desired.unit;
      changes.push(`unit is now °${this.unit}`);
    }
    const seconds = desired.intervalSeconds;
    if (seconds >= INTERVAL_SECONDS.least && seconds <= INTERVAL_SECONDS.most && seconds !== this.intervalSeconds) {
      this.intervalSeconds = seconds;
      changes.push(`interval is now ${seconds} s`);
    }
    return changes;
  }

  /** Does what a job document asks and answers the job execution's end: `{ status, statusDetails }`. */
  runJob(document) {
    if (document?.operation === "calibrate" && Number.isFinite(document.offset)) {
      this.#offsetFahrenheit = document.offset;
      return { status: "SUCCEEDED", statusDetails: { offset: String(document.offset) } };
    }
    return { status: "REJECTED", statusDetails: { reason: "unknown operation" } };
  }
}

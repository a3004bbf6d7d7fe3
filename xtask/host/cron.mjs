// Workerd never fires a cron trigger by itself. Which of wrangler.toml's triggers are due in a given minute (UTC) is decided here.

const FIELDS = [
  { name: "minute", from: 0, to: 59, of: (date) => date.getUTCMinutes() },
  { name: "hour", from: 0, to: 23, of: (date) => date.getUTCHours() },
  { name: "day of month", from: 1, to: 31, of: (date) => date.getUTCDate() },
  { name: "month", from: 1, to: 12, of: (date) => date.getUTCMonth() + 1 },
  // Cloudflare counts Sunday as 1
  { name: "day of week", from: 1, to: 7, of: (date) => date.getUTCDay() + 1 },
];

function matches(part, value, field) {
  const parsed = /^(?:\*|(\d+)(?:-(\d+))?)(?:\/(\d+))?$/.exec(part);
  if (!parsed) throw new Error(`cron: cannot read ${JSON.stringify(part)} as ${field.name}`);
  const [, first, last, step] = parsed;
  const from = first === undefined ? field.from : Number(first);
  const to = last !== undefined ? Number(last) : first === undefined || step !== undefined ? field.to : from;
  if (from < field.from || to > field.to || from > to || step === "0") {
    throw new Error(`cron: ${JSON.stringify(part)} is out of range for ${field.name}`);
  }
  return value >= from && value <= to && (value - from) % Number(step ?? 1) === 0;
}

/** Whether the five-field expression is due in the minute of `date`. Numbers, `*`, `a-b`, `/step` and lists; no names. */
export function isDue(expression, date) {
  const parts = expression.trim().split(/\s+/);
  if (parts.length !== FIELDS.length) throw new Error(`cron: ${JSON.stringify(expression)} has not five fields`);
  // every part is read, so that a wrong one is found at once and not on the first of a month
  const due = FIELDS.map((field, index) => parts[index].split(",").map((part) => matches(part, field.of(date), field)));
  return due.every((alternatives) => alternatives.includes(true));
}

/** Calls `fire(cron, date)` for each due trigger at the top of every minute, until the returned function is called. */
export function tickEveryMinute(crons, fire) {
  crons.forEach((cron) => isDue(cron, new Date(0)));
  let timer;
  const arm = () => {
    timer = setTimeout(() => {
      const minute = new Date(Math.round(Date.now() / 60_000) * 60_000);
      for (const cron of crons) if (isDue(cron, minute)) fire(cron, minute);
      arm();
    }, 60_000 - (Date.now() % 60_000) + 20);
  };
  if (crons.length > 0) arm();
  return () => clearTimeout(timer);
}

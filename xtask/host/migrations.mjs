// D1 migrations, recorded in the very table that `wrangler d1 migrations apply` uses.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const TABLE = `CREATE TABLE IF NOT EXISTS "d1_migrations"(
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT UNIQUE,
  applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
);`;

/** Applies the files of `directory` that `database` has not seen, oldest first, each in one transaction with its record. */
export async function applyMigrations(database, directory) {
  const files = readdirSync(directory)
    .filter((name) => name.endsWith(".sql"))
    .sort();
  await database.prepare(TABLE).run();
  const { results } = await database.prepare("SELECT name FROM d1_migrations").all();
  const applied = new Set(results.map((row) => row.name));
  const missing = files.filter((name) => !applied.has(name));
  for (const name of missing) {
    // a script of several statements is one query to the local D1, which needs no splitting here
    const script = readFileSync(join(directory, name), "utf8");
    try {
      await database.batch([
        database.prepare(script),
        database.prepare(`INSERT INTO d1_migrations (name) VALUES ('${name.replaceAll("'", "''")}')`),
      ]);
    } catch (error) {
      throw new Error(`migration ${name}: ${error.message}`);
    }
  }
  return missing;
}

// 100,000 tasks with a text key and two indexes, WAL without a sync at each commit; "100 writers"
// take turns in one thread, each on a connection of its own. Prints rates per second as JSON.
import Database from 'better-sqlite3';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const ROWS = 100_000, BATCH = 1_000, READS = 10_000, RANGES = 1_000;
const STATUSES = ['pending', 'running', 'completed', 'failed'];
const folder = mkdtempSync(join(process.argv[2], 'documents-'));
const file = join(folder, 'document.db');

function connect() {
  const db = new Database(file, { timeout: 60_000 });
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = NORMAL');
  db.pragma('cache_size = -65536');
  db.pragma('temp_store = MEMORY');
  return db;
}

const rates = {};
function rate(name, count, act) {
  const begun = process.hrtime.bigint();
  act();
  rates[name] = count / (Number(process.hrtime.bigint() - begun) / 1e9);
}
const row = (id, n) => [id, `Task number ${n}`, STATUSES[n % 4], `agent-${n % 10}`,
  JSON.stringify({ priority: n % 5, tags: ['a', 'b'], attempt: n }), '2026-01-01T00:00:00.000Z'];

const db = connect();
db.exec(`CREATE TABLE tasks (id TEXT PRIMARY KEY, name TEXT NOT NULL, status TEXT NOT NULL,
  owner TEXT, metadata TEXT, created_at TEXT NOT NULL);
  CREATE INDEX tasks_status ON tasks (status); CREATE INDEX tasks_owner ON tasks (owner);`);
const INSERT = 'INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?)';
const insert = db.prepare(INSERT);
const batch = db.transaction((first) => {
  for (let n = first; n < first + BATCH; n++) insert.run(...row(`task_${n}`, n));
});
rate('insert', ROWS, () => { for (let n = 0; n < ROWS; n += BATCH) batch(n); });
const one = db.prepare('SELECT * FROM tasks WHERE id = ?');
rate('read', READS, () => { for (let n = 0; n < READS; n++) one.get(`task_${n * 7_919 % ROWS}`); });
const range = db.prepare('SELECT * FROM tasks WHERE status = ? LIMIT 100');
rate('range', RANGES, () => { for (let n = 0; n < RANGES; n++) range.all(STATUSES[n % 4]); });
const update = db.prepare("UPDATE tasks SET status = 'completed' WHERE id = ?");
rate('update', READS, () => { for (let n = 0; n < READS; n++) update.run(`task_${n * 7_919 % ROWS}`); });
rate('scan', ROWS, () => db.prepare('SELECT * FROM tasks').all());
rate('writers', 10_000, () => {
  for (let writer = 0; writer < 100; writer++) {
    const own = connect();
    const statement = own.prepare(INSERT);
    for (let n = 0; n < 100; n++) statement.run(...row(`w_${writer}_${n}`, n));
    own.close();
  }
});
db.close();
rmSync(folder, { recursive: true });
console.log(JSON.stringify(rates));

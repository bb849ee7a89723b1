// Appending lines of about 190 bytes, one open and close each or 100 at a time, without a sync; then
// reading the whole file and parsing each line. Prints rates per second as JSON.
import { promises as fs, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const SINGLE = 10_000, ENTRIES = 1_000_000, BATCH = 100;
const folder = mkdtempSync(join(process.argv[2], 'documents-'));
const line = (n) => JSON.stringify({
  timestamp: '2026-01-01T00:00:00.000Z', level: 'info',
  message: `the agent has written file number ${n}`,
  data: { step: n, tool: 'write', path: `src/module_${n % 97}/file_${n}.ts`, ok: true },
}) + '\n';

const rates = {};
async function rate(name, count, act) {
  const begun = process.hrtime.bigint();
  await act();
  rates[name] = count / (Number(process.hrtime.bigint() - begun) / 1e9);
}

await rate('append', SINGLE, async () => {
  for (let n = 0; n < SINGLE; n++) await fs.appendFile(join(folder, 'single.jsonl'), line(n));
});
const long = join(folder, 'long.jsonl');
await rate('batch', ENTRIES, async () => {
  for (let first = 0; first < ENTRIES; first += BATCH) {
    let lines = '';
    for (let n = first; n < first + BATCH; n++) lines += line(n);
    await fs.appendFile(long, lines);
  }
});
await rate('read', ENTRIES, async () => {
  const text = await fs.readFile(long, 'utf8');
  let last;
  for (const one of text.split('\n')) if (one) last = JSON.parse(one);
  return last;
});
rmSync(folder, { recursive: true });
console.log(JSON.stringify(rates));

import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { describe, describeDiscrepancies, tooLittle } from './report.js';
import { Run, scriptsFrom } from './run.js';
import { judge } from './verdict.js';
import { World } from './world.js';

const MINUTE_MS = 60_000;
const MAX_SEED = 2 ** 32 - 1;

async function main(): Promise<void> {
  const { minutes, seed, beside } = readOptions();
  const again = `--minutes ${minutes} --seed ${seed}${beside === null ? '' : ` --beside ${beside}`}`;
  say(`chaos: ${minutes} minute(s), seed ${seed}; again with: npm run chaos -- ${again}`);
  const world = await World.start(
    scriptsFrom(seed),
    beside === null ? null : resolve(beside, 'dist/src/main.js'),
  );
  let sound = false;
  try {
    const course = await new Run(world, seed, minutes * MINUTE_MS, say).course();
    const discrepancies = judge(course.evidence);
    const reasons = tooLittle(course);
    sound = discrepancies.length === 0 && reasons.length === 0;
    say(['', ...describe(course), ''].join('\n'));
    for (const text of describeDiscrepancies(discrepancies)) say(text);
    for (const reason of reasons) say(`TOO LITTLE  ${reason}`);
    if (!sound)
      writeFileSync(join(world.folder, 'journal.json'), JSON.stringify(course.evidence.journal, null, 1));
    say(
      sound
        ? `Everything agrees, and each acknowledged answer is still true (seed ${seed}).`
        : `${discrepancies.length} discrepancies (seed ${seed}).`,
    );
  } finally {
    await world.stop();
    if (sound) await world.remove();
    else say(`The databases, the books and the logs are kept in ${world.folder}`);
  }
  process.exitCode = sound ? 0 : 1;
}

function readOptions(): { minutes: number; seed: number; beside: string | null } {
  const command = new Command('chaos')
    .description('Kills and stops everything at random, and then looks whether all books agree.')
    .option('--minutes <n>', 'how long things go wrong', number(0.1, 24 * 60), 1)
    .option('--seed <n>', 'what is drawn from; CHAOS_SEED, or chance, unless given', number(0, MAX_SEED))
    .option('--beside <folder>', "another version's built checkout, whose service runs beside this one's")
    .parse();
  const options = command.opts<{ minutes: number; seed?: number; beside?: string }>();
  const fromEnvironment = process.env['CHAOS_SEED'];
  const fallback = fromEnvironment ? number(0, MAX_SEED)(fromEnvironment) : randomInt(MAX_SEED);
  return { minutes: options.minutes, seed: options.seed ?? fallback, beside: options.beside ?? null };
}

function number(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a number from ${min} to ${max}.`);
  };
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

// Exit in order, so that the `exit` handlers of the kept processes end what this process has started.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

await main();

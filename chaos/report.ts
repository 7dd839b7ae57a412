import type { Course } from './run.js';
import { heardOf, isStored, type Heard } from './journal.js';
import { TARGETS } from './plan.js';
import type { Discrepancy } from './verdict.js';

const SHOWN_ROWS = 10;
const MAX_ROW_CHARACTERS = 1_200;

/** What the run did, in numbers. */
export function describe({ evidence, injuries, weathers, quiet }: Course): string[] {
  const { journal, keys, payments, refunds, reversals, effects, events } = evidence;
  const tries = journal.entries.flatMap((entry) => entry.tries);
  const answers = tries.flatMap(({ heard }) => heard ?? []);
  const unknown = unknownKeys(evidence);
  const takenOver = keys.filter(({ resumed, attempt }) => resumed && attempt > 1);
  return [
    line(
      'requests',
      tries.length,
      countsOf(
        journal.entries.flatMap(({ intent, tries: { length } }) =>
          Array<string>(length).fill(intent.operation),
        ),
      ),
    ),
    line('answers', answers.length, countsOf(answers.map(nameOf))),
    line('no answer', tries.length - answers.length, ''),
    line('replays', answers.filter(({ replayed }) => replayed === 'true').length, ''),
    line(
      'given up',
      journal.entries.filter(({ lost }) => lost).length,
      `of ${journal.entries.length} intents`,
    ),
    line('kills', total(injuries, 'kills'), perTarget(injuries, 'kills')),
    line('stops', total(injuries, 'stops'), perTarget(injuries, 'stops')),
    line(
      'lies',
      [...weathers.values()].reduce((sum, count) => sum + count, 0),
      countsOf([...weathers].flatMap(([name, count]) => Array<string>(count).fill(name))),
    ),
    line(
      'take-overs',
      takenOver.length,
      `keys, in ${takenOver.reduce((sum, { attempt }) => sum + attempt - 1, 0)} further attempts`,
    ),
    line('unknown', unknown.length, 'outcomes'),
    line(
      'resolved',
      unknown.filter(({ status }) => status !== 'in_progress').length,
      `of them: ${countsOf(unknown.map(({ response_status }) => String(response_status)))}`,
    ),
    line('reversals', reversals.length, countsOf(reversals.map(({ status, outcome }) => outcome ?? status))),
    line('payments', payments.length, countsOf(payments.map(({ status }) => status))),
    line('refunds', refunds.length, countsOf(refunds.map(({ status }) => status))),
    line('effects', effects.length, countsOf(effects.map(({ kind }) => kind))),
    line('events', events.length, ''),
    line(
      'kept',
      journal.entries.filter((entry) => heardOf(entry).some(isStored)).length,
      'answers, asked once more of both services',
    ),
    line(
      'quiet',
      `${(quiet.tookMs / 1_000).toFixed(1)} s`,
      `${quiet.openAtFirst} rows were open, ${quiet.cameBack} clients came back`,
    ),
  ];
}

/** Reasons why the run proves nothing, whatever its verdict. */
export function tooLittle({ evidence, injuries }: Course): string[] {
  const heard = evidence.journal.entries.flatMap(heardOf);
  const needed: [string, number][] = [
    ...TARGETS.flatMap((target): [string, number][] => [
      [`kills of ${target}`, injuries[target].kills],
      [`stops of ${target}`, injuries[target].stops],
    ]),
    ['payments', evidence.payments.length],
    ['refunds', evidence.refunds.length],
    ['reversals', evidence.reversals.length],
    ['unknown outcomes', unknownKeys(evidence).length],
    ['take-overs', evidence.keys.filter(({ resumed }) => resumed).length],
    ['replays', heard.filter(({ replayed }) => replayed === 'true').length],
    ['refused other bodies', heard.filter(({ status }) => status === 422).length],
    ['declined charges', heard.filter(({ status }) => status === 402).length],
    [
      'requests without an answer',
      evidence.journal.entries.flatMap(({ tries }) => tries).filter((each) => each.heard === null).length,
    ],
  ];
  return needed.filter(([, count]) => count === 0).map(([name]) => `there were no ${name}`);
}

/** The first rows of each kind of discrepancy. */
export function describeDiscrepancies(discrepancies: readonly Discrepancy[]): string[] {
  return [...Map.groupBy(discrepancies, ({ name }) => name)].flatMap(([name, found]) => [
    `BROKEN  ${name}: ${found[0]?.holds}`,
    ...found.slice(0, SHOWN_ROWS).map(({ row }) => `  ${JSON.stringify(row).slice(0, MAX_ROW_CHARACTERS)}`),
    ...(found.length > SHOWN_ROWS ? [`  … and ${found.length - SHOWN_ROWS} more`] : []),
  ]);
}

function unknownKeys({ keys }: Course['evidence']): Course['evidence']['keys'] {
  return keys.filter(({ was_unknown, operation }) => was_unknown && operation !== 'reversal');
}

/** The status, with the problem's code if it is a refusal: a status may have several codes. */
function nameOf({ status, json }: Heard): string {
  return status < 400 ? String(status) : `${status} ${String(json['code'])}`;
}

function line(name: string, count: number | string, details: string): string {
  return `${name.padEnd(11)} ${String(count).padStart(6)}  ${details}`.trimEnd();
}

function countsOf(names: readonly string[]): string {
  return [...Map.groupBy(names, (name) => name)]
    .map(([name, { length }]) => ({ name, length }))
    .toSorted((a, b) => b.length - a.length)
    .map(({ name, length }) => `${name}: ${length}`)
    .join(', ');
}

function perTarget(injuries: Course['injuries'], kind: 'kills' | 'stops'): string {
  return TARGETS.map((target) => `${target}: ${injuries[target][kind]}`).join(', ');
}

function total(injuries: Course['injuries'], kind: 'kills' | 'stops'): number {
  return TARGETS.reduce((sum, target) => sum + injuries[target][kind], 0);
}

/** `npm run cli -- …`: for operators of the service, to manage merchants and API keys and to check the books. */
import { Command, CommanderError, Option } from 'commander';
import type { KeyManagement } from '../auth/key-management.js';
import { KeyManagementError } from '../auth/key-management-error.js';
import { type Scope, SCOPES } from '../auth/scopes.js';
import { ConfigError } from '../config/load-config.js';
import { StartupError } from '../config/startup-error.js';
import {
  age,
  lifetime,
  merchantName,
  moment,
  overlap,
  scopeList,
  shownLines,
  uuid,
} from './cli-arguments.js';
import { explainDatabaseError } from './cli-errors.js';
import { describeIssued, issuedToWire, keyToRow, keyToWire } from './cli-output.js';
import { formatTable } from './table.js';
import { describeVerification, isVerified, verificationToWire } from './verify-output.js';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_DIFFERS = 1;
const DEFAULT_OVERLAP_MS = 24 * 3_600_000;
const DEFAULT_OPEN_AFTER_MS = 15 * 60_000;
/** Few clients repeat a request after a week. */
const DEFAULT_LOOK_UP_MS = 7 * 24 * 3_600_000;
const DEFAULT_SHOWN_LINES = 100;
const SHOWN_ONCE = 'Keep the API key: it is shown this once, and only its hash is stored.';

interface Output {
  json?: boolean;
}

await main();

async function main(): Promise<void> {
  try {
    await program().parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      // Asking for help is not a mistake.
      process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
      return;
    }
    process.stderr.write(`${explanation(error)}\n`);
    process.exitCode = EXIT_FAILED;
  }
}

function program(): Command {
  const cli = configured(new Command('cli'))
    .usage('<command> [options]')
    .description(
      "Merchants, their API keys and the books, in the running sandbox's database or in DATABASE_URL's.",
    );
  cli.addCommand(merchantCommands());
  cli.addCommand(keyCommands());
  addReconcile(cli);
  addVerify(cli);
  addRestored(cli);
  return cli;
}

function merchantCommands(): Command {
  const merchants = configured(new Command('merchants')).description('Whose payments they are');
  subcommand(merchants, 'create', 'Add a merchant, with a first API key that may do everything')
    .requiredOption('--name <name>', 'what people call it', merchantName)
    .action((options: Output & { name: string }) =>
      withKeyManagement(async (keys) => {
        const { merchantId, apiKey } = await keys.createMerchant(options.name);
        if (options.json) return print({ merchant_id: merchantId, api_key: apiKey });
        printLines(`Merchant  ${merchantId}  ${options.name}`, `API key   ${apiKey}`, '', SHOWN_ONCE);
      }),
    );
  subcommand(merchants, 'list', 'Show all merchants').action((options: Output) =>
    withKeyManagement(async (keys) => {
      const found = (await keys.listMerchants()).map(({ merchantId, name, createdAt }) => ({
        merchant_id: merchantId,
        name,
        created_at: createdAt.toISOString(),
      }));
      if (options.json) return print({ data: found });
      printLines(formatTable(found, 'There are no merchants.'));
    }),
  );
  return merchants;
}

function keyCommands(): Command {
  const keys = configured(new Command('api-keys')).description('Who may act for a merchant');
  addCreateKey(keys);
  addListKeys(keys);
  addRotateKey(keys);
  addRevokeKey(keys);
  return keys;
}

function addCreateKey(parent: Command): void {
  subcommand(parent, 'create', 'Add an API key')
    .requiredOption('--merchant <id>', 'whose it is', uuid)
    .addOption(
      new Option('--scopes <list>', `what it may do, of ${SCOPES.join(',')}`)
        .argParser(scopeList)
        .default(SCOPES, 'all'),
    )
    .option('--expires-in <duration>', 'such as 90d or 12h; without it, it does not expire', lifetime)
    .action((options: Output & { merchant: string; scopes: readonly Scope[]; expiresIn?: number }) =>
      withKeyManagement(async (keys) => {
        const issued = await keys.createKey(options.merchant, options.scopes, options.expiresIn ?? null);
        if (options.json) return print(issuedToWire(issued));
        printLines(...describeIssued(issued), '', SHOWN_ONCE);
      }),
    );
}

function addListKeys(parent: Command): void {
  subcommand(parent, 'list', 'Show API keys, never the keys themselves')
    .option('--merchant <id>', 'only those of one merchant', uuid)
    .action((options: Output & { merchant?: string }) =>
      withKeyManagement(async (keys) => {
        const found = await keys.listKeys(options.merchant ?? null);
        if (options.json) return print({ data: found.map(keyToWire) });
        printLines(formatTable(found.map(keyToRow), 'There are no API keys.'));
      }),
    );
}

function addRotateKey(parent: Command): void {
  subcommand(parent, 'rotate', 'Put a new API key in the place of one, which lives on for the overlap')
    .argument('<key-id>', 'the id of the old key', uuid)
    .addOption(
      new Option('--overlap <duration>', 'how long the old key still works')
        .argParser(overlap)
        .default(DEFAULT_OVERLAP_MS, '24h'),
    )
    .action((keyId: string, options: Output & { overlap: number }) =>
      withKeyManagement(async (keys) => {
        const rotated = await keys.rotate(keyId, options.overlap);
        const oldExpiresAt = rotated.oldExpiresAt.toISOString();
        if (options.json) {
          return print({
            ...issuedToWire(rotated),
            replaces: rotated.replaces,
            old_key_expires_at: oldExpiresAt,
          });
        }
        printLines(
          ...describeIssued(rotated),
          '',
          `The old key ${keyId} works until ${oldExpiresAt}.`,
          SHOWN_ONCE,
        );
      }),
    );
}

function addRevokeKey(parent: Command): void {
  subcommand(parent, 'revoke', 'End an API key now')
    .argument('<key-id>', 'the id of the key', uuid)
    .action((keyId: string, options: Output) =>
      withKeyManagement(async (keys) => {
        const revokedAt = (await keys.revoke(keyId)).toISOString();
        if (options.json) return print({ api_key_id: keyId, revoked_at: revokedAt });
        printLines(`The API key ${keyId} is revoked since ${revokedAt}.`);
      }),
    );
}

interface ReconcileFlags extends Output {
  from?: Date;
  to?: Date;
  merchant?: string;
  openAfter: number;
  limit: number;
  repair?: boolean;
}

function addReconcile(parent: Command): void {
  const command = subcommand(parent, 'reconcile', "Compare our books with the gateway's")
    .option('--from <time>', 'only what was made at or after this time, as 2026-01-31T00:00:00Z', moment)
    .option('--to <time>', 'only what was made before this time', moment)
    .option('--merchant <id>', 'only the payments of one merchant', uuid)
    .addOption(
      new Option(
        '--open-after <duration>',
        'an operation that has been open for longer counts as a difference',
      )
        .argParser(age)
        .default(DEFAULT_OPEN_AFTER_MS, '15m'),
    )
    .addOption(
      new Option('--limit <lines>', 'how many of each list are shown')
        .argParser(shownLines)
        .default(DEFAULT_SHOWN_LINES),
    )
    .option('--repair', 'end what is open here and has happened there, then compare again')
    .addHelpText('after', '\nExit code: 0 the books agree, 1 they differ, 2 they could not be compared');
  command.action(async (flags: ReconcileFlags) => {
    const { from = null, to = null, merchant = null, openAfter, limit, repair = false } = flags;
    if (from !== null && to !== null && from >= to) command.error('error: --from must be before --to');
    const options = { from, to, merchantId: merchant, openAfterMs: openAfter, shown: limit, repair };
    try {
      const { reconcile } = await import('./reconcile.js');
      const { describeReconciled, reconciledToWire } = await import('./reconcile-output.js');
      const reconciled = await reconcile(process.env, options);
      if (flags.json) print(reconciledToWire(reconciled, options));
      else printLines(...describeReconciled(reconciled, options));
      process.exitCode = reconciled.report.agrees ? 0 : EXIT_DIFFERS;
    } catch (error) {
      notCompared(error);
    }
  });
}

/** Exits with 2, because 1 means that the books were compared and differ. */
function notCompared(error: unknown): void {
  process.stderr.write(`${explanation(error)}\n`);
  process.exitCode = EXIT_USAGE;
}

function addVerify(parent: Command): void {
  subcommand(parent, 'verify', 'Check that ledger, payments, refunds, keys and events agree')
    .addHelpText('after', '\nExit code: 0 all checks hold, 1 not all do, 2 they could not be checked')
    .action(async (options: Output) => {
      const [{ withClient }, { verify }] = await Promise.all([
        import('./cli-database.js'),
        import('../verification/verification.js'),
      ]);
      try {
        const results = await withClient(process.env, verify);
        if (options.json) print(verificationToWire(results));
        else printLines(...describeVerification(results));
        process.exitCode = isVerified(results) ? 0 : EXIT_DIFFERS;
      } catch (error) {
        notCompared(error);
      }
    });
}

interface RestoredFlags extends Output {
  since?: Date;
  for: number;
  end?: boolean;
}

function addRestored(parent: Command): void {
  const command = subcommand(
    parent,
    'restored',
    'Say that the database has lost its latest changes, so that calls which it may have forgotten are looked up first',
  )
    .option('--since <time>', 'the earliest change that may be lost, as 2026-01-31T00:00:00Z', moment)
    .addOption(
      new Option('--for <duration>', 'how long clients may still repeat requests from before the loss')
        .argParser(lifetime)
        .default(DEFAULT_LOOK_UP_MS, '7d'),
    )
    .option('--end', 'end it now: nothing is looked up any more');
  command.action(async (flags: RestoredFlags) => {
    const { since, end = false } = flags;
    if ((since === undefined) !== end) command.error('error: either --since or --end is needed');
    const { beginRestore, describeRestore, endRestores, restoreToWire } = await import('./restored.js');
    if (since === undefined) {
      const ended = await endRestores(process.env);
      if (flags.json) return print({ ended: ended.map(restoreToWire) });
      return printLines(
        ended.length === 0 ? 'There was nothing to end.' : 'First calls are no longer looked up.',
      );
    }
    const restore = await beginRestore(process.env, since, flags.for);
    if (flags.json) return print(restoreToWire(restore));
    printLines(...describeRestore(restore));
  });
}

/** Loads the database code only when it is needed, so that help and usage errors appear at once. */
async function withKeyManagement(use: (keys: KeyManagement) => Promise<void>): Promise<void> {
  const database = await import('./cli-database.js');
  await database.withKeyManagement(use);
}

/** Usage errors become exceptions, so that one place sets the exit code. */
function configured(command: Command): Command {
  return command.exitOverride().showHelpAfterError().helpCommand(false).allowExcessArguments(false);
}

function subcommand(parent: Command, name: string, description: string): Command {
  const command = configured(new Command(name)).description(description);
  command.option('--json', 'print one line of JSON, and nothing else');
  parent.addCommand(command);
  return command;
}

function print(value: unknown): void {
  printLines(JSON.stringify(value));
}

function printLines(...lines: string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** An error that an operator can run into is one sentence. A bug keeps its stack trace. */
function explanation(error: unknown): string {
  if (error instanceof KeyManagementError || error instanceof StartupError || error instanceof ConfigError) {
    return error.message;
  }
  return (
    explainDatabaseError(error) ??
    (error instanceof Error ? explainDatabaseError(error.cause) : null) ??
    (error instanceof Error && error.stack !== undefined ? error.stack : String(error))
  );
}

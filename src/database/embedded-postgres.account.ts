import { execFileSync, spawnSync, type SpawnOptions } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StartupError } from '../config/startup-error.js';

/**
 * Whom PostgreSQL runs as. It refuses to run as root, so under root every one of its programs is started through here;
 * for an ordinary user this changes nothing.
 */
export interface Account {
  /** null: as whoever runs us. */
  readonly owner: { readonly uid: number; readonly gid: number } | null;
  /** The program and arguments that, put before a command, run it as this account. */
  readonly wrapper: readonly string[];
}

const OURSELVES: Account = { owner: null, wrapper: [] };
const USER = 'postgres';
/**
 * A clone in /root (mode 700) is out of reach for any other user, unless the process keeps the one capability to pass
 * such folders. Containers usually lack the first of these and have the second.
 */
const CAPABILITIES_TO_PASS_FOLDERS = ['dac_read_search', 'dac_override'];

/**
 * @param cluster whose owner runs it, once it exists
 * @throws StartupError when nobody can be found who may run PostgreSQL on `dataDir`
 */
export async function chooseAccount(initdb: string, dataDir: string, cluster: string): Promise<Account> {
  if (process.getuid?.() !== 0) return OURSELVES;
  const owner = (await clusterOwner(cluster)) ?? userIds() ?? createUser();
  const account = candidates(owner).find((candidate) => canRun(candidate, initdb, dataDir));
  if (account) return account;
  throw new StartupError(
    `PostgreSQL does not run as root, and the user with id ${owner.uid} (${USER}) cannot reach ${dataDir} or ${dirname(initdb)}: ` +
      'move the project to a folder that every user may enter, such as /opt, or start Hapax as an ordinary user',
  );
}

/** The command, arguments and options that start a program as this account. */
export function commandAs(
  account: Account,
  program: string,
  args: readonly string[],
): { command: string; args: string[]; options: SpawnOptions } {
  const [command = program, ...rest] = [...account.wrapper, program, ...args];
  // A wrapper changes the user by itself: it needs root's rights to keep a capability across that.
  const ids = account.wrapper.length === 0 && account.owner !== null ? account.owner : {};
  return { command, args: rest, options: { ...ids, cwd: '/' } };
}

function candidates(owner: { uid: number; gid: number }): Account[] {
  const wrapped = CAPABILITIES_TO_PASS_FOLDERS.map((capability) => ({
    owner,
    wrapper: [
      'setpriv',
      `--reuid=${owner.uid}`,
      `--regid=${owner.gid}`,
      '--clear-groups',
      `--inh-caps=-all,+${capability}`,
      `--ambient-caps=-all,+${capability}`,
      // Without this bit, access(2), by which initdb looks for its files, leaves the capability out of account.
      '--securebits=+no_setuid_fixup',
      '--',
    ],
  }));
  return [{ owner, wrapper: [] }, ...wrapped];
}

/** Tries rather than computes: permissions, ACLs, mount options and user namespaces all have a say. */
function canRun(account: Account, initdb: string, dataDir: string): boolean {
  const looksUpAllOfItsFiles = commandAs(account, initdb, ['--show', `--pgdata=${dataDir}`]);
  const entersDataDir = commandAs(account, 'ls', ['-d', join(dataDir, '.')]);
  return [looksUpAllOfItsFiles, entersDataDir].every(
    ({ command, args, options }) => spawnSync(command, args, { ...options, stdio: 'ignore' }).status === 0,
  );
}

/** The owner of an existing cluster, unless that is root, as after a copy made by root. */
async function clusterOwner(cluster: string): Promise<{ uid: number; gid: number } | null> {
  const found = await stat(cluster).catch(() => null);
  return found === null || found.uid === 0 ? null : { uid: found.uid, gid: found.gid };
}

function userIds(): { uid: number; gid: number } | null {
  const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, USER], { encoding: 'utf8' }));
  if (uid?.status !== 0 || gid?.status !== 0) return null;
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
}

function createUser(): { uid: number; gid: number } {
  try {
    execFileSync('useradd', ['--system', '--user-group', USER], { stdio: 'ignore' });
    const created = userIds();
    if (created) return created;
  } catch {
    // Told below: why `useradd` failed changes nothing for the person.
  }
  throw new StartupError(
    `PostgreSQL does not run as root, and a user “${USER}” does not exist and cannot be created: start Hapax as an ordinary user`,
  );
}

/**
 * The house, top to bottom. A room imports only from rooms below it. Rooms on one line do not know each other.
 * `docs/architecture.md` draws the same plan.
 */
export const FLOOR_PLAN: readonly (readonly string[])[] = [
  // Entry: knows every room.
  ['cli', 'entry'],
  // Commands: operations by message, events to the broker.
  ['broker'],
  // Products.
  ['reconciliation', 'verification', 'health', 'payments', 'webhooks'],
  // Books.
  ['events', 'ledger'],
  // Providers.
  ['provider-notifications'],
  ['gateways'],
  // Engine: keys on the wire, and what makes any operation exactly-once.
  ['idempotency/wire'],
  ['idempotency'],
  // Kit.
  ['currencies'],
  ['auth'],
  ['metrics'],
  ['http'],
  ['database'],
  ['embedded-postgres'],
  ['config'],
  ['time'],
  ['ids'],
  ['domain'],
];

/** The command line starts the service, so these two alone may look sideways: `cli` at the files of the entry. */
const SIDEWAYS: readonly string[] = ['cli -> entry'];

/** The room of a file below `src/`: its folder, or a subfolder of that if the plan names it. */
export function roomOf(file: string): string {
  const [first = '', second = '', ...rest] = file.split('/');
  if (second === '') return 'entry';
  const nested = `${first}/${second}`;
  return rest.length > 0 && FLOOR_PLAN.flat().includes(nested) ? nested : first;
}

/** One line for each import that leads upwards or sideways, or from or to a room that the plan does not know. */
export function wrongArrows(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const floors = new Map(FLOOR_PLAN.flatMap((rooms, floor) => rooms.map((room) => [room, floor])));
  const wrong: string[] = [];
  for (const [file, targets] of imports) {
    for (const target of targets) {
      const [from, to] = [roomOf(file), roomOf(target)];
      if (from === to || SIDEWAYS.includes(`${from} -> ${to}`)) continue;
      const [fromFloor, toFloor] = [floors.get(from), floors.get(to)];
      if (fromFloor === undefined || toFloor === undefined || toFloor <= fromFloor)
        wrong.push(`${file} -> ${target}`);
    }
  }
  return wrong.toSorted();
}

/** The circles of files that import each other. Each appears once and begins with its first file by name. */
export function circles(imports: ReadonlyMap<string, readonly string[]>): string[][] {
  const found = new Map<string, string[]>();
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): void => {
    const start = path.indexOf(file);
    if (start >= 0) {
      const circle = path.slice(start);
      found.set(circle.toSorted().join(), circle);
      return;
    }
    if (done.has(file)) return;
    path.push(file);
    for (const target of imports.get(file) ?? []) visit(target);
    path.pop();
    done.add(file);
  };
  for (const file of [...imports.keys()].toSorted()) visit(file);
  return [...found.values()];
}

import type { BeforeQueryEvent, DataSource } from 'typeorm';

/**
 * How many pages the statements that `run` sends through this data source read, planned as the service plans them.
 * @param change what to change in the statements before they are explained, for a control
 */
export async function pagesRead(
  dataSource: DataSource,
  run: () => Promise<unknown>,
  change = (text: string) => text,
): Promise<number> {
  const sent: BeforeQueryEvent[] = [];
  const subscriber = { beforeQuery: (event: BeforeQueryEvent) => void sent.push(event) };
  dataSource.subscribers.push(subscriber);
  await run();
  dataSource.subscribers.pop();
  let pages = 0;
  for (const { query, parameters } of sent) {
    const [row] = await dataSource.query<
      { 'QUERY PLAN': { Plan: { 'Shared Hit Blocks': number; 'Shared Read Blocks': number } }[] }[]
    >(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${change(query)}`, [...((parameters ?? []) as unknown[])]);
    const { Plan } = row!['QUERY PLAN'][0]!;
    pages += Plan['Shared Hit Blocks'] + Plan['Shared Read Blocks'];
  }
  if (sent.length === 0) throw new Error('no statement was sent');
  return pages;
}

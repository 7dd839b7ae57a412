/**
 * Shares one `collect` between gauges that come from the same query, so that each waits for it. A scrape reads all
 * gauges at the same moment, so a gauge that only another's `collect` sets would show the value of the scrape before.
 */
export function sharedCollect(collect: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () =>
    (running ??= collect().finally(() => {
      running = undefined;
    }));
}

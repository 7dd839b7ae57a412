/**
 * For gauges that one question answers: each waits for it. All gauges of a scrape are read at the same moment, so one that
 * only another's `collect` sets would show what was so at the scrape before.
 */
export function sharedCollect(collect: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () =>
    (running ??= collect().finally(() => {
      running = undefined;
    }));
}

export interface Deadline {
  limitMs: number;
  /** How long we still listen after the abort, because an answer may say what the abort has stopped. */
  graceMs?: number;
  /** An outer deadline. When it is aborted, time is up here too. */
  signal?: AbortSignal;
}

/** How a question with a deadline ended. `late`: no answer and no error within limit and grace. */
export type Ended<Answer> =
  { kind: 'answered'; answer: Answer } | { kind: 'threw'; error: unknown } | { kind: 'late' };

/**
 * Asks, aborts the question when its time is up, and stops listening after the grace. It ignores whatever comes later,
 * even an error. It never rejects.
 *
 * We clear the timer when the answer comes. We do not use `AbortSignal.timeout`, because its timer stays until it
 * fires, and a busy process would hold thousands of them.
 */
export async function askInTime<Answer>(
  ask: (signal: AbortSignal) => Promise<Answer>,
  { limitMs, graceMs = 0, signal }: Deadline,
): Promise<Ended<Answer>> {
  const abort = new AbortController();
  const late = Promise.withResolvers<Ended<Answer>>();
  let timer: NodeJS.Timeout | undefined;
  const expire = (): void => {
    if (abort.signal.aborted) return;
    clearTimeout(timer);
    timer = setTimeout(late.resolve, graceMs, { kind: 'late' });
    abort.abort();
  };
  timer = setTimeout(expire, limitMs);
  signal?.addEventListener('abort', expire, { once: true });
  if (signal?.aborted === true) expire();
  try {
    return await Promise.race([ending(ask, abort.signal), late.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', expire);
  }
}

async function ending<Answer>(
  ask: (signal: AbortSignal) => Promise<Answer>,
  signal: AbortSignal,
): Promise<Ended<Answer>> {
  try {
    return { kind: 'answered', answer: await ask(signal) };
  } catch (error) {
    return { kind: 'threw', error };
  }
}

import type { Refusal } from '../../src/domain/errors.js';
import {
  PROBLEM_CODES,
  problemKind,
  PROBLEMS,
  problemType,
  renderProblem,
} from '../../src/http/problem-table.js';

const CONTEXT = { requestId: 'req-1', publicUrl: 'https://pay.test' };

function render(refusal: Refusal) {
  const { body, ...rest } = renderProblem(refusal, CONTEXT);
  return { ...rest, document: JSON.parse(body) as Record<string, unknown> };
}

describe('the problem table', () => {
  it.each(PROBLEM_CODES)('renders %s as a document with its own code, type and status', (code) => {
    const { example } = problemKind(code);
    const { status, headers, document } = render(example);
    expect(document).toMatchObject({
      code,
      status,
      request_id: 'req-1',
      type: problemType(code, 'https://pay.test'),
    });
    expect(document['detail']).toMatch(/^\S.*\.$/);
    expect(headers['content-type']).toBe('application/problem+json; charset=utf-8');
  });

  it.each(PROBLEM_CODES)('gives %s the effect "none" only if nothing can have happened', (code) => {
    const { effect, status } = PROBLEMS[code];
    const mayHaveHappened = ['idempotency_key_in_progress', 'outcome_unknown', 'internal_error'];
    expect(effect).toBe(mayHaveHappened.includes(code) ? 'unknown' : 'none');
    expect(status).toBeGreaterThanOrEqual(400);
  });

  it('tells a client to keep its key whenever a new one could charge twice', () => {
    const unknown = PROBLEM_CODES.filter((code) => PROBLEMS[code].effect === 'unknown');
    expect(unknown.map((code) => PROBLEMS[code].retry)).toEqual(unknown.map(() => 'same_key'));
  });

  it('renders a decline with its payment, and equal refusals to equal bytes', () => {
    const refusal: Refusal = {
      code: 'card_declined',
      transactionId: 'tx-1',
      message: 'The card was declined.',
    };
    expect(render(refusal)).toMatchObject({
      status: 402,
      document: {
        transaction_id: 'tx-1',
        detail: 'The card was declined.',
        retry: 'new_key',
        effect: 'none',
      },
    });
    expect(renderProblem(refusal, CONTEXT).body).toBe(renderProblem({ ...refusal }, CONTEXT).body);
  });

  it('sends each problem with the headers that it needs, and no others', () => {
    expect(render({ code: 'service_unavailable', retryAfterSeconds: 2 }).headers).toMatchObject({
      'retry-after': '2',
    });
    expect(render({ code: 'unauthorized', reason: 'No.' }).headers).toMatchObject({
      'www-authenticate': 'Bearer',
    });
    expect(render({ code: 'idempotency_key_missing' }).headers['link']).toBe(
      '<https://pay.test/problems/idempotency_key_missing>; rel="describedby"',
    );
    expect(Object.keys(render({ code: 'payload_too_large' }).headers)).toEqual(['content-type']);
  });
});

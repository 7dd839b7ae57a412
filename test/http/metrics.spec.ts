import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Metrics } from '../../src/metrics/metrics.js';
import { createEdgeApp } from './edge-app.js';

describe('metrics', () => {
  let app: NestFastifyApplication;

  beforeEach(async () => {
    ({ app } = await createEdgeApp());
  });
  afterEach(() => app.close());

  const read = async () => (await app.inject('/metrics')).body;

  it('time every request by route template, not by address', async () => {
    for (let id = 0; id < 20; id++) await app.inject(`/v1/things/${id}`);
    for (let id = 0; id < 20; id++) await app.inject(`/nowhere/${id}`);
    const text = await read();
    expect(text).toContain(
      'hapax_http_request_duration_seconds_count{method="GET",route="/v1/things/:id",status="200"} 20',
    );
    expect(text).toContain(
      'hapax_http_request_duration_seconds_count{method="GET",route="unmatched",status="404"} 20',
    );
  });

  it('count what other rooms report', async () => {
    const metrics = app.get(Metrics);
    metrics.charged('approved');
    metrics.replayed('memory');
    metrics.conflicted('idempotency_key_reused');
    metrics.groupCommitted('reserve', 3);
    metrics.claimTakenOver('recovery');
    const text = await read();
    expect(text).toContain('hapax_charges_total{outcome="approved"} 1');
    expect(text).toContain('hapax_idempotent_replays_total{source="memory"} 1');
    expect(text).toContain('hapax_idempotency_conflicts_total{code="idempotency_key_reused"} 1');
    expect(text).toContain('hapax_group_size_bucket{le="4",step="reserve"} 1');
    expect(text).toContain('hapax_claims_taken_over_total{by="recovery"} 1');
    expect(text).toContain('process_cpu_seconds_total');
  });

  it('are separate for each app in a process', async () => {
    const { app: other } = await createEdgeApp();
    other.get(Metrics).charged('approved');
    await other.close();
    expect(await read()).not.toContain('hapax_charges_total{outcome="approved"}');
  });
});

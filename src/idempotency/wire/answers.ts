import { Injectable } from '@nestjs/common';
import type { Refusal } from '../../domain/errors.js';
import { PROBLEM_MEDIA_TYPE, renderProblem } from '../../http/problem-table.js';
import { PublicUrl } from '../../http/public-url.js';
import type { StoredAnswer } from '../claims.store.js';

const JSON_MEDIA_TYPE = 'application/json; charset=utf-8';

/** Writes answers as the bytes that are stored and replayed. */
@Injectable()
export class Answers {
  constructor(private readonly publicUrl: PublicUrl) {}

  /** @param location the path of what this answer created, or null */
  json(status: 200 | 201 | 202, resource: object, location: string | null): StoredAnswer {
    return { status, contentType: JSON_MEDIA_TYPE, location, body: JSON.stringify(resource) };
  }

  /** A refusal that is final for its key. */
  problem(refusal: Refusal, requestId: string): StoredAnswer {
    const { status, body } = renderProblem(refusal, { requestId, publicUrl: this.publicUrl.base });
    return { status, contentType: PROBLEM_MEDIA_TYPE, location: null, body };
  }
}

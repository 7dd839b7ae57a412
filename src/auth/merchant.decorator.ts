import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { RequestMerchant } from './request-merchant.js';

/** The id of the merchant that the request's API key belongs to. For routes that are not `@Public()`. */
export const CurrentMerchant = createParamDecorator((_data: unknown, context: ExecutionContext): string => {
  const merchant: RequestMerchant | null = context.switchToHttp().getRequest<FastifyRequest>().merchant;
  if (merchant === null) throw new Error('@CurrentMerchant() on a route that asks for no API key');
  return merchant.merchantId;
});

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The handler gets the bytes as they were sent, to check a signature over them. */
    rawBody?: boolean;
  }
}

/**
 * For `@RouteConfig()`: do not parse the body. Nest's own `rawBody` option would keep the bytes on every route, and
 * only one route needs them.
 */
export const RAW_BODY = { rawBody: true } as const;

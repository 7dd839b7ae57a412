declare module 'fastify' {
  interface FastifyContextConfig {
    /** The handler gets the bytes as they were sent, for a signature that is over them. */
    rawBody?: boolean;
  }
}

/**
 * For `@RouteConfig()`: the body is not parsed. Nest's own `rawBody` option would keep every route's bytes for the one
 * route that wants them.
 */
export const RAW_BODY = { rawBody: true } as const;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route gets the bytes as they were sent, to check a signature over them or to compare them. */
    rawBody?: boolean;
  }
}

/**
 * For `@RouteConfig()`: do not parse the body. Nest's own `rawBody` option would keep the bytes on every route, and
 * few routes need them.
 */
export const RAW_BODY = { rawBody: true } as const;

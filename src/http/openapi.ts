import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import type { Config } from '../config/config.js';
import { API_KEY_AUTH, EXAMPLE_BASE_URL } from './api-docs.js';
import { PublicUrl } from './public-url.js';

const DESCRIPTION = `Payments that happen exactly once.

Send an \`Idempotency-Key\` with every payment. However often the request is retried, the money moves once, and every retry gets
the first answer. Errors are problem documents (RFC 9457) whose \`retry\` says whether to send the request again and with which
key, and whose \`effect\` says whether anything happened.`;

/** Serves the Swagger UI at `/docs` and the document at `/openapi.json`. Call it before `app.listen()`. */
export function setupOpenApi(app: INestApplication, config: Config): void {
  SwaggerModule.setup('docs', app, () => openApiDocument(app, config), {
    jsonDocumentUrl: 'openapi.json',
    raw: ['json'],
    customSiteTitle: 'Hapax API',
    swaggerOptions: {
      persistAuthorization: true,
      tryItOutEnabled: true,
      displayRequestDuration: true,
    },
  });
}

/** The OpenAPI 3.1 document. Built once the server listens, because its examples carry absolute URLs. */
export function openApiDocument(app: INestApplication, config: Config): OpenAPIObject {
  const builder = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('Hapax')
    .setDescription(DESCRIPTION)
    .setVersion('1')
    .setLicense('MIT', 'https://spdx.org/licenses/MIT.html')
    // The Swagger UI shows them in this order: what people need most comes first.
    .addTag('Payments')
    .addTag('Refunds')
    .addTag('Reversals')
    .addTag('Idempotency keys')
    .addTag('Events')
    .addTag('Webhooks')
    .addTag('Ledger')
    .addTag('Currencies')
    .addTag('Gateways', 'For payment providers, which sign what they send.')
    .addTag('Service', 'Health, metrics and problem types. No API key is needed.')
    // The page's own origin. Any other would need CORS.
    .addServer('/')
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: authDescription(config) }, API_KEY_AUTH)
    .addSecurityRequirements(API_KEY_AUTH);
  const document = SwaggerModule.createDocument(app, builder.build());
  const base = app.get(PublicUrl).base;
  return JSON.parse(JSON.stringify(document).replaceAll(EXAMPLE_BASE_URL, base)) as OpenAPIObject;
}

function authDescription({ sandboxApiKey }: Config): string {
  return sandboxApiKey === null ? 'Your API key.' : `Your API key. The sandbox accepts \`${sandboxApiKey}\`.`;
}

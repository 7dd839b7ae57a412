import type { SchemaDrift, SqlStatement } from '../database/schema-drift.js';

/**
 * Writes a migration file in our style from the statements that TypeORM found to be missing.
 * @param name in either style: `AddRefunds` and `add-refunds` give the same file
 */
export function migrationSource(
  name: string,
  timestamp: number,
  { up, down }: SchemaDrift,
): { fileName: string; text: string } {
  const words = name.split(/-|(?<=[a-z0-9])(?=[A-Z])/).map((word) => word.toLowerCase());
  const className = `${words.map((word) => word[0]?.toUpperCase() + word.slice(1)).join('')}${timestamp}`;
  const text = `import type { MigrationInterface, QueryRunner } from 'typeorm';

export class ${className} implements MigrationInterface {
  name = '${className}';

  async up(db: QueryRunner): Promise<void> {
${up.map(queryCall).join('\n')}
  }

  async down(db: QueryRunner): Promise<void> {
${down.map(queryCall).join('\n')}
  }
}
`;
  return { fileName: `${timestamp}-${words.join('-')}.ts`, text };
}

function queryCall({ query, parameters = [] }: SqlStatement): string {
  const sql = query.replace(/[\\`]|\$\{/g, (special) => `\\${special}`);
  const values = parameters.length > 0 ? `, ${JSON.stringify(parameters)}` : '';
  return `    await db.query(\`${sql}\`${values});`;
}

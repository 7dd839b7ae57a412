// Writes docs/payment-states.md from the transition table that the code uses. With --check it only compares.
import { readFileSync, writeFileSync } from 'node:fs';
import { PAYMENT_STATUSES, PAYMENT_TRANSITIONS } from '../dist/src/domain/payment.js';

const page = new URL('../docs/payment-states.md', import.meta.url);

const arrows = PAYMENT_STATUSES.flatMap((from) =>
  Object.entries(PAYMENT_TRANSITIONS[from]).map(([transition, to]) => `    ${from} --> ${to}: ${transition}`),
);
const ends = PAYMENT_STATUSES.filter((status) => Object.keys(PAYMENT_TRANSITIONS[status]).length === 0);

const markdown = `# The states of a payment

Drawn from the transition table in \`src/domain/payment.ts\` by \`npm run docs:states\`; CI fails when the two differ.

\`\`\`mermaid
stateDiagram-v2
    [*] --> pending
${arrows.join('\n')}
${ends.map((status) => `    ${status} --> [*]`).join('\n')}
\`\`\`

- \`pending\`: our intent is written, but the gateway's outcome is not known yet. No timer ends it.
- \`authorized\`: the money is set aside, and one capture or one cancel may end that.
- \`completed\`: the money was taken. The refunded part is in \`amount_refunded\`, and is not a state.
- \`failed\` and \`canceled\` are final.
`;

if (!process.argv.includes('--check')) {
  writeFileSync(page, markdown);
} else if (readFileSync(page, 'utf8') !== markdown) {
  console.error('docs/payment-states.md differs from the transition table: run "npm run docs:states".');
  process.exit(1);
}

import type { RefusalCode } from '../domain/errors.js';
import { type Effect, PROBLEMS, type Retry } from './problem-table.js';

const RETRY_ADVICE: Readonly<Record<Retry, string>> = {
  same_key: 'Yes, with the same Idempotency-Key.',
  new_key: 'Yes, with a new Idempotency-Key.',
  none: 'Not as it is.',
};

const EFFECT_MEANING: Readonly<Record<Effect, string>> = {
  none: 'No: nothing was done.',
  applied: 'Yes: it was done.',
  unknown: 'It is not known. Retrying with the same key is safe.',
};

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;color:#1c2430}
code{background:#f0f2f5;padding:.1em .3em;border-radius:3px}dt{font-weight:600;margin-top:.8rem}dd{margin:0}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.4rem;border-bottom:1px solid #e2e6eb}a{color:#0b57d0}`;

export function problemPage(code: RefusalCode): string {
  const { status, title, retry, effect, description } = PROBLEMS[code];
  return page(
    `${status} ${title}`,
    `<p><code>${escapeHtml(code)}</code></p>
<p>${withCode(description)}</p>
<dl><dt>May I send it again?</dt><dd>${RETRY_ADVICE[retry]} (<code>retry: ${retry}</code>)</dd>
<dt>Did it have an effect?</dt><dd>${EFFECT_MEANING[effect]} (<code>effect: ${effect}</code>)</dd></dl>
<p><a href="../problems">All problem types</a></p>`,
  );
}

export function problemsPage(): string {
  const rows = Object.entries(PROBLEMS).map(
    ([code, { status, title }]) =>
      `<tr><td>${status}</td><td><a href="problems/${code}"><code>${code}</code></a></td><td>${escapeHtml(title)}</td></tr>`,
  );
  return page(
    'Problem types',
    `<table><tr><th>Status</th><th>Code</th><th>Title</th></tr>\n${rows.join('\n')}\n</table>`,
  );
}

function page(title: string, content: string): string {
  const heading = escapeHtml(title);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${heading} · Hapax</title><style>${STYLE}</style></head>
<body><h1>${heading}</h1>
${content}
</body></html>
`;
}

/** Descriptions mark code with backticks, as in OpenAPI's Markdown. */
function withCode(text: string): string {
  return escapeHtml(text).replace(/`([^`]*)`/g, '<code>$1</code>');
}

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

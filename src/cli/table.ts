/** Formats rows as a table with their field names as headings. Each column is as wide as its longest cell. */
export function formatTable(rows: readonly Readonly<Record<string, string>>[], ifEmpty: string): string {
  const [first] = rows;
  if (first === undefined) return ifEmpty;
  const names = Object.keys(first);
  const lines = [names.map((name) => name.toUpperCase()), ...rows.map((row) => Object.values(row))];
  const widths = names.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

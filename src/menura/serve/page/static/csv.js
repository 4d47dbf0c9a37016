// Rows as CSV, as spreadsheets read it.

// A cell that begins like a formula is text in every spreadsheet with a quote before it.
function cell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  const plain = typeof value === "string" && /^[=+\-@]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

export const csv = (rows) => rows.map((row) => row.map(cell).join(",")).join("\r\n");

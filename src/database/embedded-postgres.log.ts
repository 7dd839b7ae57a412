import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';

const MAX_BYTES = 5_000_000;

/**
 * PostgreSQL's log in a file that cannot fill the disk: when it is full it becomes `….1`, and the one before goes.
 * Writing is synchronous, because there is little of it, and its last lines before an end are the ones that matter.
 */
export class BoundedLog {
  private fd: number | null = null;
  private size = 0;

  constructor(private readonly file: string) {}

  write(text: string): void {
    try {
      const fd = this.open();
      this.size += writeSync(fd, text);
    } catch {
      // A full disk: PostgreSQL will say so to its clients, and a log that cannot be written must not stop it.
    }
  }

  private open(): number {
    if (this.fd !== null && this.size > MAX_BYTES) {
      closeSync(this.fd);
      this.fd = null;
      renameSync(this.file, `${this.file}.1`);
    }
    if (this.fd === null) {
      this.fd = openSync(this.file, 'a', 0o600);
      this.size = fstatSync(this.fd).size;
    }
    return this.fd;
  }
}

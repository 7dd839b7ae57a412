import type { MigrationInterface, QueryRunner } from 'typeorm';
import { changeOnline } from '../src/database/online-ddl.js';

/**
 * The ledger is checked once a statement instead of once a row, which was one of the dearest parts of a charge. Every statement must be balanced by itself. A writer may place its entries itself, which the same check verifies; one
 * that does not, such as the version before, still gets its places from the trigger.
 */
export class LedgerChecks1765200000000 implements MigrationInterface {
  name = 'LedgerChecks1765200000000';
  readonly transaction = false;

  async up(db: QueryRunner): Promise<void> {
    await changeOnline(db, [
      `CREATE FUNCTION check_ledger_entries() RETURNS trigger LANGUAGE plpgsql AS $$
      DECLARE
        place  bigint;
        closed bigint;
        wrong  uuid;
      BEGIN
        SELECT c.xid_base + pg_current_xact_id()::text::bigint, c.closed_below INTO place, closed
        FROM ledger_closing c WHERE c.only_row;
        IF place < closed THEN
          RAISE EXCEPTION 'the books are closed below %, and these entries would be at %', closed, place
            USING ERRCODE = 'serialization_failure',
              HINT = 'This database came from another server, whose transactions had higher numbers. The service reopens the books by itself when it starts, and within a minute while it runs.';
        END IF;
        SELECT e.ledger_transaction_id INTO wrong FROM added e WHERE e.log_position <> place LIMIT 1;
        IF FOUND THEN
          RAISE EXCEPTION 'the entries of transfer % belong at %', wrong, place
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_place';
        END IF;
        SELECT e.ledger_transaction_id INTO wrong FROM added e
        GROUP BY e.merchant_id, e.ledger_transaction_id, e.currency HAVING sum(e.amount) <> 0 LIMIT 1;
        IF FOUND THEN
          RAISE EXCEPTION 'the entries of transfer % do not sum to zero', wrong
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_balanced';
        END IF;
        RETURN NULL;
      END $$`,
      'DROP TRIGGER ledger_entries_balanced ON ledger_entries',
      'DROP FUNCTION refuse_unbalanced_ledger_transaction',
      `CREATE TRIGGER ledger_entries_checked AFTER INSERT ON ledger_entries REFERENCING NEW TABLE AS added
      FOR EACH STATEMENT EXECUTE FUNCTION check_ledger_entries()`,
      'DROP TRIGGER ledger_entries_place ON ledger_entries',
      `CREATE TRIGGER ledger_entries_place BEFORE INSERT ON ledger_entries
      FOR EACH ROW WHEN (NEW.log_position = 0) EXECUTE FUNCTION place_ledger_entry()`,
    ]);
  }

  async down(db: QueryRunner): Promise<void> {
    await changeOnline(db, [
      'DROP TRIGGER ledger_entries_place ON ledger_entries',
      `CREATE TRIGGER ledger_entries_place BEFORE INSERT ON ledger_entries
      FOR EACH ROW EXECUTE FUNCTION place_ledger_entry()`,
      'DROP TRIGGER ledger_entries_checked ON ledger_entries',
      'DROP FUNCTION check_ledger_entries',
      `CREATE FUNCTION refuse_unbalanced_ledger_transaction() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF EXISTS (
          SELECT FROM ledger_entries e
          WHERE e.merchant_id = NEW.merchant_id AND e.ledger_transaction_id = NEW.ledger_transaction_id
          GROUP BY e.currency HAVING sum(e.amount) <> 0
        ) THEN
          RAISE EXCEPTION 'ledger transaction % does not sum to zero', NEW.ledger_transaction_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_balanced';
        END IF;
        RETURN NULL;
      END $$`,
      `CREATE CONSTRAINT TRIGGER ledger_entries_balanced AFTER INSERT ON ledger_entries
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_unbalanced_ledger_transaction()`,
    ]);
  }
}

"""The ledger's tables, partitions, and what refuses changes to them.

Prevention only: who is superuser can take all of it away, and verification finds what
they did (docs/ledger-format.md). Triggers fire always, also for a session that says it
is a replica.
"""

from alembic import context, op

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE ledger.entry (
    seq          bigint PRIMARY KEY CHECK (seq >= 0),
    round        bigint NOT NULL,
    local_header bytea NOT NULL,
    part_type    text,
    head         bytea,
    commitments  bytea NOT NULL,
    fields_root  bytea NOT NULL,
    prev         bytea NOT NULL,
    row_hash     bytea NOT NULL,
    kind         smallint NOT NULL,
    recorded_at  timestamptz NOT NULL,
    fault_code   integer,
    execution    smallint,
    message_id   uuid,
    direction    integer,
    part         bigint,
    client       text,
    service      text,
    method       text,
    purpose      text,
    legal_basis  text,
    status       bigint
) PARTITION BY RANGE (seq);
CREATE INDEX entry_message ON ledger.entry (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX entry_time ON ledger.entry USING brin (recorded_at);

CREATE TABLE ledger.opening (
    seq      bigint NOT NULL,
    position integer NOT NULL,
    tag      integer NOT NULL,
    salt     bytea NOT NULL,
    value    bytea NOT NULL,
    PRIMARY KEY (seq, position)
) PARTITION BY RANGE (seq);
-- What erasures have erased and kept: tags of ledger.fields.
CREATE INDEX opening_erasure ON ledger.opening (seq) WHERE tag IN (10, 12);

CREATE TABLE ledger.subject_index (
    tag   bytea NOT NULL,
    month integer NOT NULL,
    seq   bigint NOT NULL,
    PRIMARY KEY (tag, seq)
) PARTITION BY RANGE (seq);
CREATE TABLE ledger.subject_index_withheld (
    tag   bytea NOT NULL,
    month integer NOT NULL,
    seq   bigint NOT NULL,
    PRIMARY KEY (tag, seq)
) PARTITION BY RANGE (seq);

CREATE TABLE ledger.round (
    round     bigint PRIMARY KEY CHECK (round >= 0),
    size      bigint NOT NULL,
    root      bytea NOT NULL,
    note      bytea NOT NULL,
    closed_at timestamptz NOT NULL
);
CREATE TABLE ledger.time_stamp (
    round   bigint NOT NULL REFERENCES ledger.round,
    imprint bytea NOT NULL,
    token   bytea NOT NULL,
    PRIMARY KEY (round, imprint)
);
CREATE TABLE ledger.evidence (
    imprint bytea PRIMARY KEY,
    der     bytea NOT NULL
);
CREATE TABLE ledger.head (
    one_row     boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    epoch       bigint NOT NULL,
    writer      uuid,
    seq         bigint NOT NULL,
    round       bigint NOT NULL,
    row_hash    bytea NOT NULL,
    ledger_time timestamptz NOT NULL
) WITH (fillfactor = 10);
INSERT INTO ledger.head (epoch, seq, round, row_hash, ledger_time)
VALUES (0, 0, 0, decode(repeat('00', 32), 'hex'), 'epoch');
"""

_REFUSALS = """
CREATE FUNCTION ledger.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'ledger.% only grows: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION ledger.refuse_unless_eraser() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_user <> {eraser} THEN
        RAISE EXCEPTION 'only an erasure deletes from ledger.%', TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN OLD;
END $$;

CREATE FUNCTION ledger.refuse_going_back() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.epoch < OLD.epoch OR NEW.seq < OLD.seq OR NEW.round < OLD.round
       OR NEW.ledger_time < OLD.ledger_time THEN
        RAISE EXCEPTION 'ledger.head only goes forward'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION ledger.protect(target regclass, of_rows text, deleting text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER refuse_update BEFORE UPDATE ON %s
        FOR EACH ROW EXECUTE FUNCTION ledger.%I()', target, of_rows);
    EXECUTE format('CREATE TRIGGER refuse_delete BEFORE DELETE ON %s
        FOR EACH ROW EXECUTE FUNCTION ledger.%I()', target, deleting);
    EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %s
        FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER refuse_update', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER refuse_delete', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER refuse_truncate', target);
END $$;

SELECT ledger.protect('ledger.round', 'refuse_change', 'refuse_change');
SELECT ledger.protect('ledger.time_stamp', 'refuse_change', 'refuse_change');
SELECT ledger.protect('ledger.evidence', 'refuse_change', 'refuse_change');
SELECT ledger.protect('ledger.head', 'refuse_going_back', 'refuse_change');
"""

# There is always one whole partition ahead; from entry `again_from` on, ask again.
# A partition bears its own triggers: a row trigger sees no TRUNCATE, and a statement
# trigger on the parent sees nothing done to a partition by name. It is made beside the
# table and attached empty, which does not stop those who read and write.
_PARTITIONS = """
CREATE FUNCTION ledger.create_partitions(
    until bigint, OUT again_from bigint, OUT ready_until bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    width CONSTANT bigint := {width};
    number bigint;
    parent text;
    made text;
    deleting text;
BEGIN
    PERFORM pg_advisory_xact_lock({lock});
    IF until > (SELECT seq FROM ledger.head) + 2 * width + 1000000 THEN
        RAISE EXCEPTION 'partitions up to % are not needed yet', until;
    END IF;
    SELECT coalesce(max(substring(relname FROM '[0-9]+$')::bigint) + 1, 0)
        INTO number
        FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'ledger.entry'::regclass;
    WHILE number * width <= until + width LOOP
        FOREACH parent IN ARRAY
            ARRAY['entry', 'opening', 'subject_index', 'subject_index_withheld']
        LOOP
            made := format('%s_%s', parent,
                lpad(number::text, greatest(6, length(number::text)), '0'));
            deleting := CASE parent WHEN 'entry' THEN 'refuse_change'
                ELSE 'refuse_unless_eraser' END;
            EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.%I INCLUDING ALL)',
                made, parent);
            PERFORM ledger.protect(format('ledger.%I', made)::regclass,
                'refuse_change', deleting);
            EXECUTE format('ALTER TABLE ledger.%I ATTACH PARTITION ledger.%I
                FOR VALUES FROM (%s) TO (%s)',
                parent, made, number * width, (number + 1) * width);
        END LOOP;
        number := number + 1;
    END LOOP;
    again_from := (number - 1) * width;
    ready_until := number * width;
END $$;

CREATE FUNCTION ledger.refuse_truncate_of(target regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %s
        FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER refuse_truncate', target);
END $$;
SELECT ledger.refuse_truncate_of(parent) FROM unnest(ARRAY['ledger.entry',
    'ledger.opening', 'ledger.subject_index', 'ledger.subject_index_withheld'
    ]::regclass[]) AS parent;
DROP FUNCTION ledger.refuse_truncate_of(regclass);

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
SELECT ledger.create_partitions(0);
"""


def upgrade() -> None:
    asked = context.config.attributes
    for script in (
        _TABLES,
        _REFUSALS.format(eraser=asked["eraser_literal"]),
        _PARTITIONS.format(width=asked["partition_size"], lock=asked["lock"]),
    ):
        # Given parameters, also none, the driver takes a percent sign for one.
        op.get_bind().exec_driver_sql(script.replace("%", "%%"))

-- What the keeper can be told.

CREATE FUNCTION cron.prune()
RETURNS boolean
LANGUAGE C VOLATILE STRICT
AS 'MODULE_PATHNAME', 'cron_prune_wrapper';
COMMENT ON FUNCTION cron.prune()
    IS 'has the history pruned now, rather than within the hour; returns at once, false if there is no scheduler';
REVOKE ALL ON FUNCTION cron.prune() FROM PUBLIC;

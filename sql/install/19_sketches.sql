-- Histograms of durations, as columns of statistics keep them: bytes that only these functions read.
-- They are pure. Bytes that are no histogram are an error, but for the scheduler, which goes on counting.

CREATE FUNCTION cron.sketch_merge(one bytea, other bytea)
RETURNS bytea
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cron_sketch_merge_wrapper';
COMMENT ON FUNCTION cron.sketch_merge(bytea, bytea)
    IS 'two histograms of durations as one; NULL counts as an empty one; an error for other bytes';

CREATE FUNCTION cron.sketch_add(kept bytea, more bytea)
RETURNS bytea
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cron_sketch_add_wrapper';
COMMENT ON FUNCTION cron.sketch_add(bytea, bytea)
    IS 'as cron.sketch_merge(), for the scheduler: bytes that are no histogram count as an empty one';

CREATE FUNCTION cron.sketch_quantile(sketch bytea, part double precision)
RETURNS real
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cron_sketch_quantile_wrapper';
COMMENT ON FUNCTION cron.sketch_quantile(bytea, double precision)
    IS 'the duration in milliseconds that this part of a histogram''s values does not exceed, such as 0.95; within 3.2 percent; NULL if it has none; an error for other bytes';

CREATE FUNCTION cron.sketch_quantile(sketch bytea, part double precision, most double precision)
RETURNS double precision
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cron_sketch_quantile_within_wrapper';
COMMENT ON FUNCTION cron.sketch_quantile(bytea, double precision, double precision)
    IS 'the same, and no more than the longest duration there was, in milliseconds';

CREATE AGGREGATE cron.sketch_merge(bytea) (
    SFUNC = cron.sketch_merge,
    STYPE = bytea,
    COMBINEFUNC = cron.sketch_merge,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE cron.sketch_merge(bytea)
    IS 'all histograms of durations as one, such as those of a job''s days in cron.job_stat_day';

-- Figures as the views show them. They answer what round() makes of a cast to numeric, sooner: a view of all jobs
-- calls them ten times for each.

CREATE FUNCTION cron.shown_ms(ms double precision)
RETURNS numeric
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cron_shown_ms_wrapper';
COMMENT ON FUNCTION cron.shown_ms(double precision) IS 'milliseconds as the views show them: round(ms::numeric, 3)';

CREATE FUNCTION cron.shown_ms(ms real)
RETURNS numeric
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cron_shown_real_ms_wrapper';
COMMENT ON FUNCTION cron.shown_ms(real) IS 'milliseconds as the views show them: round(ms::numeric, 3)';

CREATE FUNCTION cron.shown_ms(total_ms double precision, runs bigint)
RETURNS numeric
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cron_shown_mean_ms_wrapper';
COMMENT ON FUNCTION cron.shown_ms(double precision, bigint)
    IS 'their mean as the views show it: round((total_ms / nullif(runs, 0))::numeric, 3)';

CREATE FUNCTION cron.shown_percent(part bigint, total bigint)
RETURNS numeric
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cron_shown_percent_wrapper';
COMMENT ON FUNCTION cron.shown_percent(bigint, bigint) IS 'percent as the views show them: round(100.0 * part / nullif(total, 0), 2)';

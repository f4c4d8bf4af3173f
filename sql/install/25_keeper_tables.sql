-- How long history is kept, and what the keeper remembers.

ALTER TABLE cron.job
    ADD COLUMN keep_runs int,
    ADD COLUMN keep_days int;
COMMENT ON COLUMN cron.job.keep_runs IS 'so many runs are kept, the newest, of those that failed and of the others each; 0 for all, NULL for cron.default_keep_runs';
COMMENT ON COLUMN cron.job.keep_days IS 'for so many days runs and skipped occurrences are kept; 0 for ever, NULL for cron.default_keep_days and cron.default_keep_days_failed';

CREATE TABLE cron.keeper_state (
    pruned_at timestamptz NOT NULL,
    pruned_runs bigint NOT NULL
);
CREATE UNIQUE INDEX keeper_state_single_row ON cron.keeper_state ((true));
COMMENT ON TABLE cron.keeper_state IS 'what the keeper of this database has done last, in one row at the most; not dumped';
COMMENT ON COLUMN cron.keeper_state.pruned_at IS 'when the history was pruned last, to the end';
COMMENT ON COLUMN cron.keeper_state.pruned_runs IS 'how many runs were deleted then';
COMMENT ON INDEX cron.keeper_state_single_row IS 'keeps the table at one row';
ALTER TABLE cron.keeper_state ENABLE ROW LEVEL SECURITY;
CREATE POLICY keeper_state_policy ON cron.keeper_state FOR SELECT USING (true);
COMMENT ON POLICY keeper_state_policy ON cron.keeper_state IS 'it says nothing about anybody''s jobs';
GRANT SELECT ON TABLE cron.keeper_state TO PUBLIC;

//! The install script: its parts, each after those it requires.

use pgrx::prelude::*;

extension_sql_file!("../sql/install/10_schema.sql", name = "schema", bootstrap);
extension_sql_file!("../sql/install/19_sketches.sql", name = "sketches", requires = ["schema"]);
extension_sql_file!("../sql/install/20_tables.sql", name = "tables", requires = ["sketches"]);
extension_sql_file!(
    "../sql/install/21_inside_tables.sql",
    name = "inside_tables",
    requires = ["tables"]
);
extension_sql_file!(
    "../sql/install/22_control_tables.sql",
    name = "control_tables",
    requires = ["inside_tables"]
);
extension_sql_file!(
    "../sql/install/23_statistics_tables.sql",
    name = "statistics_tables",
    requires = ["control_tables"]
);
extension_sql_file!(
    "../sql/install/24_http_tables.sql",
    name = "http_tables",
    requires = ["statistics_tables"]
);
extension_sql_file!(
    "../sql/install/25_keeper_tables.sql",
    name = "keeper_tables",
    requires = ["http_tables"]
);
extension_sql_file!(
    "../sql/install/26_alert_tables.sql",
    name = "alert_tables",
    requires = ["keeper_tables"]
);
extension_sql_file!(
    "../sql/install/27_job_checks.sql",
    name = "job_checks",
    requires = ["alert_tables"]
);
extension_sql_file!(
    "../sql/install/30_functions.sql",
    name = "functions",
    requires = ["job_checks"]
);
extension_sql_file!(
    "../sql/install/31_inside_functions.sql",
    name = "inside_functions",
    requires = ["functions"]
);
extension_sql_file!(
    "../sql/install/32_control_functions.sql",
    name = "control_functions",
    requires = ["inside_functions"]
);
extension_sql_file!(
    "../sql/install/33_run_functions.sql",
    name = "run_functions",
    requires = ["control_functions"]
);
extension_sql_file!(
    "../sql/install/34_cancel_functions.sql",
    name = "cancel_functions",
    requires = ["run_functions"]
);
extension_sql_file!(
    "../sql/install/35_keeper_functions.sql",
    name = "keeper_functions",
    requires = ["cancel_functions"]
);
extension_sql_file!(
    "../sql/install/39_occurrences.sql",
    name = "occurrences",
    requires = ["keeper_functions"]
);
extension_sql_file!(
    "../sql/install/40_triggers.sql",
    name = "triggers",
    requires = ["occurrences"]
);
extension_sql_file!("../sql/install/50_views.sql", name = "views", requires = ["triggers"]);
extension_sql_file!("../sql/install/51_statistics.sql", name = "statistics", requires = ["views"]);
extension_sql_file!("../sql/install/53_report.sql", name = "report", requires = ["statistics"]);
extension_sql_file!("../sql/install/54_metrics.sql", name = "metrics", requires = ["report"]);
extension_sql_file!(
    "../sql/install/55_alert_views.sql",
    name = "alert_views",
    requires = ["metrics"]
);
extension_sql_file!("../sql/install/55_health.sql", name = "health", requires = ["alert_views"]);
extension_sql_file!("../sql/install/56_monitor.sql", name = "monitor", requires = ["health"]);
extension_sql_file!(
    "../sql/install/57_monitor_more.sql",
    name = "monitor_more",
    requires = ["monitor"]
);
extension_sql_file!("../sql/install/60_http.sql", name = "http", requires = ["monitor_more"]);
extension_sql_file!("../sql/install/61_secrets.sql", name = "secrets", requires = ["http"]);
extension_sql_file!("../sql/install/65_plans.sql", name = "plans", requires = ["secrets"]);
extension_sql_file!("../sql/install/90_grants.sql", name = "grants", finalize);

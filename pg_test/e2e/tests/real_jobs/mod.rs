//! The jobs of `fixtures/real-jobs.tsv`, as their teams have them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of scenarios, which fail by panicking"
)]

use pg_tock_test::Cluster;
use serde_json::{Value, json};

/// Sets the secret their requests name.
pub(crate) fn secret(cluster: &Cluster) {
    cluster.client().execute("select cron.set_secret('token', $1)", &[&"s3cr3t"]).unwrap();
}

/// The jobs of a set, as `cron.create_job` takes them. What the fixture says to be the same does the
/// same; what else it says of a job is its description.
pub(crate) fn set(set: &str) -> Vec<Value> {
    let jobs = include_str!("../../fixtures/real-jobs.tsv");
    let of_set = |line: &&str| line.split('\t').next() == Some(set);
    jobs.lines().filter(of_set).map(job).collect()
}

fn job(line: &str) -> Value {
    let [_, name, schedule, what] = line.split('\t').collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    let (kind, purpose) = what.split_once(": ").unwrap();
    let mut job = json!({"job_name": name, "schedule": schedule, "description": purpose});
    if kind == "sql" {
        job["command"] = format!("select maintenance('{name}')").into();
        job["active"] = (!purpose.starts_with("disabled")).into();
        return job;
    }
    // The functions that the nine jobs of S0 call.
    let function = match name {
        "daily-batch-trigger-resilient" | "daily-batch-trigger-every-5min" => "daily-batch-trigger",
        "batch-reconciler-cleanup" | "batch-reconciler-every-10min" => "batch-reconciler",
        "daily-batch-midnight-edt"
        | "daily-batch-midnight-est"
        | "daily-batch-trigger-12am-est" => "daily-batch",
        "daily-scheduler-3am-edt" | "daily-scheduler-3am-est" => "daily-scheduler",
        other => other,
    };
    job["url"] = format!("https://example.com/functions/v1/{function}").into();
    job["headers"] = json!({"Authorization": "Bearer {{secret:token}}"});
    job
}

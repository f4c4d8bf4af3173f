//! The servers that are measured: the same settings for both extensions.

use pg_tock_test::{Builder, Cluster};

/// What any server is given.
fn common(library: &str) -> Builder {
    Cluster::builder()
        .conf("shared_preload_libraries", library)
        .conf("fsync", "on")
        .conf("log_min_messages", "warning")
        .conf("cron.log_statement", "off")
        .conf("shared_buffers", "512MB")
        .conf("max_wal_size", "8GB")
        .conf("checkpoint_timeout", "30min")
        .conf("max_connections", "100")
        .conf("cron.max_running_jobs", "32")
        .max_worker_processes(40)
        .without_extension()
}

/// A server with pg_tock.
pub(crate) fn pg_tock() -> Cluster {
    pg_tock_with(&[])
}

/// A server with pg_tock and these settings.
pub(crate) fn pg_tock_with(settings: &[(&str, &str)]) -> Cluster {
    let with = |builder: Builder, (name, value): &(&str, &str)| builder.conf(name, value);
    begin(settings.iter().fold(common("pg_tock"), with))
}

/// A server with pg_tock and a disk that can be made slow.
pub(crate) fn pg_tock_on_slow_disk() -> Cluster {
    begin(common("pg_tock").slow_disk())
}

fn begin(builder: Builder) -> Cluster {
    let cluster = builder.start();
    cluster.sql("create extension pg_tock");
    cluster.wait_scheduler();
    cluster
}

/// A server with pg_cron, running jobs in background workers or through connections.
pub(crate) fn pg_cron(background_workers: bool) -> Cluster {
    let cluster = common("pg_cron").start();
    cluster.conf("cron.use_background_workers", if background_workers { "on" } else { "off" });
    // Connections go to the socket: the server does not listen on the network.
    cluster.conf("cron.host", &cluster.dir().display().to_string());
    cluster.restart();
    cluster.sql("create extension pg_cron");
    cluster
}

/// Jobs in bulk, written to the table as an administrator would.
pub(crate) fn add_jobs(cluster: &Cluster, count: i64, schedule: &str, command: &str) {
    cluster.sql(&format!(
        "insert into cron.job (schedule, command, nodename, nodeport, database, username, jobname) \
         select '{schedule}', '{command}', '{}', {}, 'postgres', 'postgres', \
           'bench ' || n + (select count(*) from cron.job) \
         from generate_series(1, {count}) n",
        cluster.dir().display(),
        cluster.port()
    ));
}

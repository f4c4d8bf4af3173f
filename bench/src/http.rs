//! How many HTTP requests a second are claimed, sent and recorded when there is always one due: the
//! server answers from this process, over connections that are kept.

use crate::report::Report;
use crate::{server, sustained};
use pg_tock_test::Cluster;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Jobs, each due every second; `BENCH_HTTP_JOBS` overrides. More than can be done.
fn jobs() -> i64 {
    sustained::jobs("BENCH_HTTP_JOBS", 40_000)
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Answers requests without a body for as long as the connection lasts.
fn serve(mut stream: TcpStream) {
    let mut room = [0; 4096];
    let mut seen = 0;
    // A kept connection that is closed, or breaks, is over.
    while let Ok(count @ 1..) = stream.read(&mut room) {
        for byte in &room[..count] {
            seen = match (byte, seen) {
                (b'\r', 0 | 2) | (b'\n', 1) => seen + 1,
                (b'\n', 3) => {
                    if stream.write_all(ANSWER).is_err() {
                        return;
                    }
                    0
                }
                (b'\r', _) => 1,
                _ => 0,
            };
        }
    }
}

fn listen() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its number");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_nodelay(true).expect("a TCP option");
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn add_jobs(cluster: &Cluster, address: SocketAddr) {
    cluster.sql(&format!(
        "insert into cron.job (schedule, command, nodeport, jobname, http) \
         select '1 second', 'GET http://{address}/', {}, 'bench ' || n, \
          jsonb_build_object('method', 'GET', 'url', 'http://{address}/') \
         from generate_series(1, {}) n",
        cluster.port(),
        jobs()
    ));
}

/// HTTP requests a second.
pub(crate) fn measure(report: &mut Report) {
    let address = listen();
    let cluster = server::pg_tock_with(&[("cron.http_allow", "127.0.0.0/8")]);
    add_jobs(&cluster, address);
    sustained::measure_jobs(report, "HTTP requests", &cluster, jobs());
}

//! The server that HTTP jobs call. Owns the count of requests it has had for each run.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Requests by run.
type Counts = BTreeMap<i64, i32>;

/// A server on a port of the loopback interface, for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Web {
    port: u16,
    counts: Arc<Mutex<Counts>>,
}

impl Web {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let counts = Arc::new(Mutex::new(Counts::new()));
        let shared = Arc::clone(&counts);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, &counts));
            }
        });
        Self { port, counts }
    }

    /// What a job calls.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{{{{run_id}}}}", self.port)
    }

    /// How many requests came for each run: run and count.
    pub(crate) fn counts(&self) -> Vec<(i64, i32)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(&run, &count)| (run, count)).collect()
    }
}

/// Reads a request and answers it: now and then with 503, or not at all.
fn answer(mut stream: TcpStream, counts: &Mutex<Counts>) {
    let mut lines = BufReader::new(&stream).lines();
    let Some(Ok(first)) = lines.next() else { return };
    if lines.any(|line| line.is_ok_and(|line| line.is_empty())) {
        let path = first.split(' ').nth(1).unwrap_or_default();
        let Some(run) = path.rsplit('/').next().and_then(|run| run.parse::<i64>().ok()) else {
            return;
        };
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(run).or_insert(0) += 1;
        drop(counts);
        let status = match run % 7 {
            0 => "503 Service Unavailable",
            1 => return,
            _ => "200 OK",
        };
        let answer =
            format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        let _ = stream.write_all(answer.as_bytes());
    }
}

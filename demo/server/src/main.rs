//! The service that the demo's HTTP jobs call: `pg_tock_demo_server KEY FILE`.
//!
//! Listens on a free port of the loopback interface, prints the port, and ends when FILE is gone,
//! which is the demo's `postmaster.pid`. What it answers:
//!
//! | path | |
//! |---|---|
//! | `/push` | 202 and what it was sent, the key included; 401 without `Authorization: Bearer KEY` |
//! | `/billing` | 503 to the first two attempts at an occurrence, by its `Idempotency-Key`, then 200 |
//! | others | 200 |

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The longest body that is read.
const MAX_BODY: usize = 64 * 1024;

/// How often an occurrence has been tried, by its `Idempotency-Key`.
type Attempts = Mutex<HashMap<String, u32>>;

/// A request, as far as anybody looks.
struct Request {
    path: String,
    /// Names in lower case.
    headers: HashMap<String, String>,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(key), Some(file)) = (arguments.next(), arguments.next().map(PathBuf::from)) else {
        return Err(io::Error::other("usage: pg_tock_demo_server KEY FILE"));
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut out = io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    std::thread::spawn(move || {
        while file.exists() {
            std::thread::sleep(Duration::from_secs(1));
        }
        std::process::exit(0);
    });
    let (key, attempts) = (Arc::new(key), Arc::new(Attempts::default()));
    for stream in listener.incoming().map_while(Result::ok) {
        let (key, attempts) = (Arc::clone(&key), Arc::clone(&attempts));
        // A connection that breaks is over.
        std::thread::spawn(move || serve(stream, &key, &attempts));
    }
    Ok(())
}

/// Answers requests for as long as the connection lasts.
fn serve(mut stream: TcpStream, key: &str, attempts: &Attempts) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = read(&mut reader)? {
        let (status, body) = answer(&request, key, attempts);
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// The next request; None if there is none.
fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0).min(MAX_BODY)];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { path, headers, body: String::from_utf8_lossy(&body).into_owned() }))
}

fn answer(request: &Request, key: &str, attempts: &Attempts) -> (&'static str, String) {
    match request.path.as_str() {
        "/push" if request.header("authorization") != format!("Bearer {key}") => {
            ("401 Unauthorized", "who are you?".to_owned())
        }
        "/push" => {
            let sent = request.header("authorization");
            ("202 Accepted", format!("you said {} and sent {}", sent, request.body))
        }
        "/billing" => {
            let mut attempts = attempts.lock().unwrap_or_else(PoisonError::into_inner);
            let attempt = attempts.entry(request.header("idempotency-key").to_owned()).or_default();
            *attempt += 1;
            match *attempt {
                1 | 2 => ("503 Service Unavailable", "too busy".to_owned()),
                more => ("200 OK", format!("billed at attempt {more}")),
            }
        }
        _ => ("200 OK", "ok".to_owned()),
    }
}

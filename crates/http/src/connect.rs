//! Making connections.
//!
//! Owns one invariant: an address is checked in the same step that connects to it, so no answer of
//! a name server can differ between check and use, and no proxy stands in between.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use pg_tock_core::http::access::{Access, Denied};
use pg_tock_core::http::outcome::Failure;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::Seen;
use crate::failure::{Failed, of_connect, of_handshake};
use crate::progress::{PROGRESS, Phase, Progress};
use crate::resolve::Resolve;

/// How long to wait for an address before the next one is tried as well (RFC 8305).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// Makes connections for the client's pool.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) access: Arc<Access>,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) tls: TlsConnector,
    pub(crate) timeout: Duration,
}

/// What a response tells about the connection it came over.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) remote: SocketAddr,
    dns: Duration,
    connect: Duration,
    tls: Option<Duration>,
    told: Arc<AtomicBool>,
}

impl About {
    /// Tells the connection's times to the first request that used it.
    pub(crate) fn tell(&self, progress: &Progress) {
        if !self.told.swap(true, Ordering::Relaxed) {
            progress.connected(self.dns, self.connect, self.tls);
        }
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Link;
    type Error = Failed;
    type Future = BoxFuture<'static, Result<Link, Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let progress = PROGRESS.try_with(Clone::clone).unwrap_or_default();
        let connector = self.clone();
        Box::pin(async move { connector.connect(&uri, &progress).await })
    }
}

impl Connector {
    async fn connect(&self, uri: &Uri, progress: &Progress) -> Result<Link, Failed> {
        let secure = uri.scheme_str() == Some("https");
        let bracketed = uri.host().unwrap_or_default();
        let host = bracketed.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let target = format!("{bracketed}:{port}");

        let start = Instant::now();
        progress.enter(Phase::Resolving);
        let addresses = self.resolve(host).await?;
        let allowed = self.allowed(host, addresses)?;
        let resolved = Instant::now();

        progress.enter(Phase::Connecting);
        let racing = race(allowed, port);
        let stream = match timeout(self.timeout, racing).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(of_connect(&target, &error)),
            Err(_) => return Err(self.too_slow(&format!("connecting to {target}"))),
        };
        // Small requests leave at once; not every kind of socket has it, and it is no loss.
        let _ = stream.set_nodelay(true);
        let remote = stream.peer_addr().map_err(|error| of_connect(&target, &error))?;
        let connected = Instant::now();

        let (stream, tls) = if secure {
            progress.enter(Phase::Handshake);
            let stream = self.handshake(host, &target, stream).await?;
            (Stream::Tls(TokioIo::new(Box::new(stream))), Some(connected.elapsed()))
        } else {
            (Stream::Plain(TokioIo::new(stream)), None)
        };
        progress.enter(Phase::Waiting);
        let about = About {
            remote,
            dns: resolved.duration_since(start),
            connect: connected.duration_since(resolved),
            tls,
            told: Arc::new(AtomicBool::new(false)),
        };
        Ok(Link { stream, about })
    }

    /// The host's addresses as a request would find them now, each with whether it would be
    /// connected to.
    pub(crate) async fn inspect(&self, host: &str) -> Result<Vec<Seen>, Failed> {
        let addresses = self.resolve(host).await?;
        Ok(addresses.into_iter().map(|ip| (ip, self.access.check(host, ip))).collect())
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Failed> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let found = timeout(self.timeout, self.resolver.resolve(host)).await;
        let problem = match found {
            Ok(Ok(addresses)) if !addresses.is_empty() => return Ok(addresses),
            Ok(Ok(_)) => "it has no address".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => return Err(self.too_slow(&format!("resolving host \"{host}\""))),
        };
        let message = format!("could not resolve host \"{host}\": {problem}");
        Err(Failed::unsent(Failure::Dns, message))
    }

    /// The addresses that may be connected to; an error if there is none.
    fn allowed(&self, host: &str, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Failed> {
        let mut refusal = None;
        let mut allowed = Vec::with_capacity(addresses.len());
        for address in addresses {
            match self.access.check(host, address) {
                Ok(()) => allowed.push(address),
                Err(denied) => refusal = Some((address, denied)),
            }
        }
        match refusal {
            Some((address, denied)) if allowed.is_empty() => {
                Err(Failed::unsent(Failure::Denied, refused(host, address, &denied)))
            }
            _ => Ok(take_turns(allowed)),
        }
    }

    async fn handshake(
        &self,
        host: &str,
        target: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failed> {
        let name = host.strip_suffix('.').unwrap_or(host).to_owned();
        let Ok(name) = ServerName::try_from(name) else {
            let message = format!("TLS handshake with {target} failed: invalid host name");
            return Err(Failed::unsent(Failure::Tls, message));
        };
        match timeout(self.timeout, self.tls.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(of_handshake(target, &error)),
            Err(_) => Err(self.too_slow(&format!("shaking hands over TLS with {target}"))),
        }
    }

    fn too_slow(&self, doing: &str) -> Failed {
        let limit = self.timeout;
        Failed::unsent(Failure::Timeout, format!("timed out after {limit:?} while {doing}"))
    }
}

/// Why an address is not connected to, in words.
pub(crate) fn refused(host: &str, address: IpAddr, denied: &Denied) -> String {
    format!("address {address} of host \"{host}\" is refused: {denied}")
}

/// Families in turn, beginning with that of the first address (RFC 8305).
fn take_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (mut first, mut second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    first.reverse();
    second.reverse();
    let mut turns = Vec::with_capacity(first.len() + second.len());
    while let Some(address) = first.pop() {
        turns.push(address);
        turns.extend(second.pop());
    }
    turns.extend(second.into_iter().rev());
    turns
}

/// The first connection that comes about; addresses are tried in order, each with a head start.
async fn race(addresses: Vec<IpAddr>, port: u16) -> io::Result<TcpStream> {
    let mut attempts = FuturesUnordered::new();
    let mut addresses = addresses.into_iter();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        match addresses.next() {
            Some(address) => attempts.push(TcpStream::connect((address, port))),
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        let more = addresses.len() > 0;
        let next = tokio::time::Instant::now() + NEXT_ADDRESS;
        tokio::select! {
            biased;
            Some(done) = attempts.next() => match done {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            },
            () = tokio::time::sleep_until(next), if more => {}
        }
    }
}

enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(TokioIo<Box<TlsStream<TcpStream>>>),
}

/// A connection, with or without TLS.
pub(crate) struct Link {
    stream: Stream,
    about: About,
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.about.clone());
        match &self.stream {
            Stream::Tls(stream) if stream.inner().get_ref().1.alpn_protocol() == Some(b"h2") => {
                connected.negotiated_h2()
            }
            _ => connected,
        }
    }
}

impl Read for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl Write for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = |texts: &[&str]| {
            texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>()
        };
        let turns = take_turns(addresses(&["::1", "::2", "::3", "1.1.1.1", "2.2.2.2"]));
        assert_eq!(turns, addresses(&["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"]));
        let turns = take_turns(addresses(&["1.1.1.1", "::1", "::2", "::3"]));
        assert_eq!(turns, addresses(&["1.1.1.1", "::1", "::2", "::3"]));
    }
}

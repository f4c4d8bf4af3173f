//! From host names to addresses.
//!
//! Owns one invariant: resolving never blocks the event loop and starts no thread, which rules out
//! the C library's resolver. `/etc/resolv.conf` and `/etc/hosts` are honoured, `nsswitch.conf` is
//! not.

use std::net::IpAddr;

use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResolveError(pub String);

/// Finds the addresses of a host.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `host`, a name in lower case, best first. Called inside the event loop.
    fn resolve(&self, host: &str) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>>;

    /// Called when settings are read again: what was remembered may be out of date.
    fn refresh(&self) {}
}

/// Asks the name servers of `/etc/resolv.conf`.
#[derive(Debug, Default)]
pub struct SystemResolver {
    /// Made at first use, since that has to happen inside the event loop.
    resolver: std::sync::Mutex<Option<TokioResolver>>,
}

impl SystemResolver {
    fn get(&self) -> Result<TokioResolver, ResolveError> {
        let failed = |error: &dyn std::fmt::Display| ResolveError(error.to_string());
        let mut place = self.resolver.lock().map_err(|error| failed(&error))?;
        if let Some(resolver) = &*place {
            return Ok(resolver.clone());
        }
        let mut builder = TokioResolver::builder_tokio().map_err(|error| failed(&error))?;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let resolver = builder.build().map_err(|error| failed(&error))?;
        *place = Some(resolver.clone());
        Ok(resolver)
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>> {
        let resolver = self.get();
        let host = host.to_owned();
        Box::pin(async move {
            let found = resolver?.lookup_ip(host).await;
            match found {
                Ok(addresses) => Ok(addresses.iter().collect()),
                Err(error) => Err(ResolveError(error.to_string())),
            }
        })
    }

    fn refresh(&self) {
        if let Ok(mut place) = self.resolver.lock() {
            *place = None;
        }
    }
}

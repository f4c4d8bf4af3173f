//! Whom HTTP jobs may reach: the settings `cron.http_allow` and `cron.http_deny`.
//!
//! Owns one invariant: deny wins over allow, and what neither names is reachable only if it is
//! public. The decision is about an address that was resolved, at the time it is connected to.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

use super::Refused;
use super::address::{Reach, embedded_v4, reach};

const HINT: &str = "List host names, names such as \"*.example.com\", addresses and networks such \
                    as \"10.0.0.0/8\", separated by commas.";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// Exactly this host, in lower case, without a dot at its end.
    Host(String),
    /// Every name below this one; holds ".example.com".
    Below(String),
    /// Every address of this network.
    Net(IpNet),
}

/// A list of hosts and networks, as in `cron.http_allow`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList(Vec<Entry>);

impl FromStr for AccessList {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(entry).collect::<Result<_, _>>().map(Self)
    }
}

fn entry(item: &str) -> Result<Entry, Refused> {
    let bare = item.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(item);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(Entry::Net(IpNet::from(address.to_canonical())));
    }
    if let Ok(net) = bare.parse::<IpNet>() {
        return Ok(Entry::Net(canonical_net(net)));
    }
    let lower = item.to_ascii_lowercase();
    let (below, name) = lower.strip_prefix("*.").map_or((false, &*lower), |name| (true, name));
    let name = name.strip_suffix('.').unwrap_or(name);
    if !is_host_name(name) {
        let problem = format!("\"{item}\" is neither a host nor a network");
        return Err(Refused::new("http_allow", problem, HINT));
    }
    Ok(if below { Entry::Below(format!(".{name}")) } else { Entry::Host(name.to_owned()) })
}

/// A network of mapped addresses is the network of IPv4 addresses it stands for.
fn canonical_net(net: IpNet) -> IpNet {
    let mapped = match net {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => {
            v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96))
        }
        _ => None,
    };
    mapped.and_then(|(v4, prefix)| IpNet::new(IpAddr::V4(v4), prefix).ok()).unwrap_or(net)
}

/// Letters, digits, hyphens and underscores between dots; the last label is not all digits, since
/// that would be an address gone wrong.
fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(allowed)
    };
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253 && name.split('.').all(label) && !name.rsplit('.').next().is_none_or(numeric)
}

impl AccessList {
    /// Whether the host is named by the list. `host` as in a URL: lower case, no brackets.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.0.iter().any(|entry| match entry {
            Entry::Host(name) => name == host,
            Entry::Below(tail) => host.ends_with(tail.as_str()),
            Entry::Net(_) => false,
        })
    }

    /// Whether the address, or the IPv4 address it stands for, is in one of the list's networks.
    #[must_use]
    pub fn covers(&self, address: IpAddr) -> bool {
        let embedded = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => inner(v6),
        };
        let inside = |net: &IpNet| {
            net.contains(&address) || embedded.is_some_and(|inner| net.contains(&inner))
        };
        self.0.iter().any(|entry| matches!(entry, Entry::Net(net) if inside(net)))
    }
}

fn inner(address: Ipv6Addr) -> Option<IpAddr> {
    embedded_v4(address).map(IpAddr::V4)
}

/// Both lists together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// `cron.http_allow`: what may be reached although it is not public.
    pub allow: AccessList,
    /// `cron.http_deny`: what may not be reached at all.
    pub deny: AccessList,
}

/// Why an address may not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// `cron.http_deny` names the host or the address.
    Listed,
    /// The address is not public, and `cron.http_allow` does not name it.
    NotPublic(Reach),
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed => f.write_str("denied by cron.http_deny"),
            Self::NotPublic(reach) => {
                write!(f, "{reach} addresses are not allowed by cron.http_allow")
            }
        }
    }
}

impl Access {
    /// Whether a connection to `address`, which `host` resolved to, may be made.
    ///
    /// # Errors
    /// Why it may not.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), Denied> {
        if self.deny.names(host) || self.deny.covers(address) {
            return Err(Denied::Listed);
        }
        match reach(address) {
            Reach::Public => Ok(()),
            _ if self.allow.names(host) || self.allow.covers(address) => Ok(()),
            other => Err(Denied::NotPublic(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn access(allow: &str, deny: &str) -> Access {
        Access { allow: allow.parse().unwrap(), deny: deny.parse().unwrap() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_public_addresses_by_default() {
        let access = access("", "");
        assert_eq!(access.check("example.com", ip("93.184.216.34")), Ok(()));
        let loopback = Err(Denied::NotPublic(Reach::Loopback));
        assert_eq!(access.check("example.com", ip("127.0.0.1")), loopback);
        assert_eq!(access.check("example.com", ip("::ffff:127.0.0.1")), loopback);
    }

    #[test]
    fn allowed_hosts_and_networks() {
        let access = access("api.internal, *.svc.local, 10.1.0.0/16, ::1, [fd00::1]", "");
        assert_eq!(access.check("api.internal", ip("10.9.9.9")), Ok(()));
        assert_eq!(access.check("api.internal.", ip("10.9.9.9")), Ok(()));
        assert_eq!(access.check("a.b.svc.local", ip("192.168.1.1")), Ok(()));
        assert_eq!(access.check("other", ip("10.1.2.3")), Ok(()));
        assert_eq!(access.check("other", ip("64:ff9b::10.1.2.3")), Ok(()));
        assert_eq!(access.check("other", ip("::1")), Ok(()));
        assert_eq!(access.check("other", ip("fd00::1")), Ok(()));
        for (host, address) in [
            ("svc.local", "192.168.1.1"),
            ("notsvc.local", "192.168.1.1"),
            ("api.internal.evil.com", "10.9.9.9"),
            ("other", "10.2.0.1"),
            ("other", "127.0.0.1"),
        ] {
            assert!(access.check(host, ip(address)).is_err(), "{host} {address}");
        }
    }

    #[test]
    fn deny_wins() {
        let access = access("10.0.0.0/8, bad.example", "10.0.0.5, bad.example, 93.184.216.0/24");
        assert_eq!(access.check("x", ip("10.0.0.4")), Ok(()));
        assert_eq!(access.check("x", ip("10.0.0.5")), Err(Denied::Listed));
        assert_eq!(access.check("x", ip("::ffff:10.0.0.5")), Err(Denied::Listed));
        assert_eq!(access.check("x", ip("2002:a00:5::1")), Err(Denied::Listed));
        assert_eq!(access.check("bad.example", ip("8.8.8.8")), Err(Denied::Listed));
        assert_eq!(access.check("x", ip("93.184.216.34")), Err(Denied::Listed));
    }

    #[test]
    fn mapped_networks_mean_their_v4_network() {
        let access = access("::ffff:10.0.0.0/104", "");
        assert_eq!(access.check("x", ip("10.200.0.1")), Ok(()));
    }

    #[test]
    fn bad_items_are_refused() {
        for text in
            ["10.0.0.0/33", "300.1.1.1", "a b", "http://x", "x:80", "*", "*.", "a..b", "é.com"]
        {
            assert!(text.parse::<AccessList>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn denied_networks_hold_in_every_disguise(bits: u32, prefix in 0u8..=32) {
            let v4 = std::net::Ipv4Addr::from(bits);
            let list = format!("{v4}/{prefix}");
            let access = access(&list, &list);
            prop_assert_eq!(access.check("h", IpAddr::V4(v4)), Err(Denied::Listed));
            let mapped = IpAddr::V6(v4.to_ipv6_mapped());
            prop_assert_eq!(access.check("h", mapped), Err(Denied::Listed));
        }

        #[test]
        fn any_text_parses_or_is_refused(text in ".{0,60}") {
            let _ = text.parse::<AccessList>();
        }
    }
}

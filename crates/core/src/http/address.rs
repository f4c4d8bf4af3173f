//! What kind of network an address belongs to.
//!
//! Owns one invariant: an IPv4 address gets the same answer in every disguise IPv6 has for it
//! (mapped, compatible, NAT64, 6to4), and an address that belongs to no known public range is not
//! public.
//!
//! Sources: the IANA IPv4 and IPv6 special-purpose address registries.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The internet.
    Public,
    /// This machine (`127.0.0.0/8`, `::1`).
    Loopback,
    /// This link (`169.254.0.0/16`, `fe80::/10`), where clouds keep their metadata service.
    LinkLocal,
    /// A private network (RFC 1918, `fc00::/7`, `fec0::/10`, `64:ff9b:1::/48`).
    Private,
    /// A provider's inner network (`100.64.0.0/10`), used by clouds and overlay networks too.
    SharedNat,
    /// No address at all (`0.0.0.0/8`, `::`), which the system takes for this machine.
    Unspecified,
    /// Many machines (`224.0.0.0/4`, `ff00::/8`), or all of a network.
    Multicast,
    /// For examples in documents only.
    Documentation,
    /// Set aside for protocols, tests or the future.
    Reserved,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Private => "private",
            Self::SharedNat => "carrier-grade NAT",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
            Self::Documentation => "documentation",
            Self::Reserved => "reserved",
        })
    }
}

/// Where an address leads, whatever form it is written in.
#[must_use]
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

const fn reach_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        [0, ..] => Reach::Unspecified,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Reach::Private,
        [100, 64..=127, ..] => Reach::SharedNat,
        [127, ..] => Reach::Loopback,
        [169, 254, ..] => Reach::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Reach::Documentation,
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] => Reach::Reserved,
        [224..=239, ..] | [255, 255, 255, 255] => Reach::Multicast,
        [240..=255, ..] => Reach::Reserved,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Reach::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        [0x64, 0xff9b, 1, ..] | [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Reach::Private,
        [0xfe80..=0xfebf, ..] => Reach::LinkLocal,
        [0xff00..=0xffff, ..] => Reach::Multicast,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => Reach::Documentation,
        // Protocol assignments, Teredo among them: it names a way round a firewall, not a host.
        [0x2001, 0..=0x01ff, ..] => Reach::Reserved,
        _ => match (embedded_v4(address), address.segments()) {
            (Some(v4), _) => reach_v4(v4),
            (None, [0x2000..=0x3fff, ..]) => Reach::Public,
            (None, _) => Reach::Reserved,
        },
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped (`::ffff:0:0/96`), compatible
/// (`::/96`), translated (`::ffff:0:0:0/96`), NAT64 (`64:ff9b::/96`) or 6to4 (`2002::/16`).
#[must_use]
pub fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn expect(reached: Reach, addresses: &[&str]) {
        for address in addresses {
            assert_eq!(reach(address.parse().unwrap()), reached, "{address}");
        }
    }

    #[test]
    fn public_addresses() {
        expect(
            Reach::Public,
            &[
                "1.1.1.1",
                "8.8.8.8",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "169.253.255.255",
                "169.255.0.0",
                "172.15.255.255",
                "172.32.0.0",
                "192.0.1.0",
                "192.167.255.255",
                "192.169.0.0",
                "198.17.255.255",
                "198.20.0.0",
                "223.255.255.255",
                "2606:4700::1111",
                "2a00:1450:4001::200e",
                "2001:4860:4860::8888",
                "2001:200::1",
                "::ffff:8.8.8.8",
                "64:ff9b::8.8.8.8",
                "2002:808:808::1",
                "2400:cb00::1",
                "3fff:1000::1",
            ],
        );
    }

    #[test]
    fn local_addresses() {
        expect(
            Reach::Loopback,
            &[
                "127.0.0.1",
                "127.255.255.255",
                "::1",
                "::ffff:127.0.0.1",
                "::127.0.0.1",
                "64:ff9b::127.0.0.1",
                "2002:7f00:1::",
                "::ffff:0:127.0.0.1",
            ],
        );
        expect(
            Reach::LinkLocal,
            &[
                "169.254.0.0",
                "169.254.169.254",
                "fe80::1",
                "febf:ffff::1",
                "::ffff:169.254.169.254",
                "::ffff:a9fe:a9fe",
                "64:ff9b::a9fe:a9fe",
                "2002:a9fe:a9fe::1",
            ],
        );
        expect(
            Reach::Private,
            &[
                "10.0.0.0",
                "10.255.255.255",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.0.1",
                "fc00::1",
                "fd00:ec2::254",
                "fdff::1",
                "fec0::1",
                "::ffff:10.1.2.3",
                "::10.1.2.3",
                "64:ff9b:1::8.8.8.8",
                "64:ff9b::192.168.1.1",
                "2002:c0a8:101::",
            ],
        );
        expect(
            Reach::SharedNat,
            &["100.64.0.0", "100.100.100.200", "100.127.255.255", "::ffff:100.64.0.1"],
        );
        expect(Reach::Unspecified, &["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "2002::1"]);
    }

    #[test]
    fn addresses_for_no_single_host() {
        expect(
            Reach::Multicast,
            &[
                "224.0.0.1",
                "239.255.255.255",
                "255.255.255.255",
                "ff02::1",
                "ff0e::1",
                "::ffff:224.0.0.1",
            ],
        );
        expect(
            Reach::Documentation,
            &["192.0.2.1", "198.51.100.7", "203.0.113.9", "2001:db8::1", "3fff::1", "3fff:fff::1"],
        );
        expect(
            Reach::Reserved,
            &[
                "192.0.0.8",
                "192.88.99.1",
                "198.18.0.1",
                "198.19.255.255",
                "240.0.0.1",
                "255.255.255.254",
                "100::1",
                "2001::1",
                "2001:0:4136:e378::1",
                "2001:1ff::1",
                "4000::1",
                "5f00::1",
                "64:ff9b:2::1",
                "1::1",
            ],
        );
    }

    proptest! {
        #[test]
        fn disguises_change_nothing(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let [a, b, c, d] = v4.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let mut disguises = vec![
                v4.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 1, 2, 3, 4, 5),
            ];
            if bits > 1 {
                disguises.push(Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low));
            }
            for v6 in disguises {
                prop_assert_eq!(embedded_v4(v6), Some(v4));
                prop_assert_eq!(reach(IpAddr::V6(v6)), reach(IpAddr::V4(v4)));
            }
        }

        #[test]
        fn nothing_outside_global_unicast_is_public(bits: u128) {
            let v6 = Ipv6Addr::from(bits);
            let global = (0x2000..=0x3fff).contains(&v6.segments()[0]);
            prop_assert!(global || embedded_v4(v6).is_some() || reach(IpAddr::V6(v6)) != Reach::Public);
        }

        #[test]
        fn the_standard_library_agrees(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified();
            prop_assert!(!special || reach(IpAddr::V4(v4)) != Reach::Public);
        }
    }
}

//! Which part of the internet an address is of: whoever has one address there has easily all of them. A subscriber of IPv6
//! has a /64 or the 65 536 of a /48, and nobody can tell which: so what networks share is shared by both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network that one holder may well have whole: a /24, or a /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Net {
    /// This very computer: all its programs are one address, and none is a stranger for it.
    Loopback,
    /// The first three bytes of an address of four.
    V4([u8; 3]),
    /// The first eight bytes of an address of sixteen.
    V6([u8; 8]),
}

/// The one form of an address: those of four bytes that are written in sixteen, mapped or by way of a gateway (6to4,
/// NAT64), are the four bytes, or one such address would have as many networks as it likes.
pub(super) fn canonical(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip.to_canonical() else { return ip.to_canonical() };
    match v6.octets() {
        [0x20, 0x02, a, b, c, d, ..] => Ipv4Addr::new(a, b, c, d).into(),
        [0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => Ipv4Addr::new(a, b, c, d).into(),
        _ => v6.into(),
    }
}

impl Net {
    /// A number for who has a connection of this network: the same for all of it, but for this computer's.
    pub fn holder(self, connection: u64) -> u64 {
        match self {
            Net::Loopback => connection,
            Net::V4([a, b, c]) => 1 << 62 | u64::from(u32::from_be_bytes([0, a, b, c])),
            Net::V6(net) => 1 << 63 | u64::from_be_bytes(net),
        }
    }

    /// All that whoever has this network may well have: of IPv6 the /48, else no more than the network itself.
    pub fn wide(self) -> Net {
        match self {
            Net::V6([a, b, c, d, e, f, ..]) => Net::V6([a, b, c, d, e, f, 0, 0]),
            net => net,
        }
    }

    /// The network of an address, in whatever form.
    pub fn of(ip: IpAddr) -> Net {
        match canonical(ip) {
            ip if ip.is_loopback() => Net::Loopback,
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Net::V4([a, b, c])
            }
            IpAddr::V6(v6) => Net::V6(v6.octets()[..8].try_into().expect("half of sixteen")),
        }
    }
}

/// What is counted as one address: all of a /64, since its holder chooses among them as it likes.
pub(super) fn holder(ip: IpAddr) -> IpAddr {
    match (canonical(ip), Net::of(ip)) {
        (IpAddr::V6(_), Net::V6(net)) => {
            let mut octets = [0; 16];
            octets[..8].copy_from_slice(&net);
            Ipv6Addr::from(octets).into()
        }
        (ip, _) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Net {
        Net::of(text.parse().unwrap())
    }

    #[test]
    fn every_way_to_write_an_address_leads_to_the_same_network() {
        assert_eq!(net("203.0.113.7"), Net::V4([203, 0, 113]));
        for same in ["::ffff:203.0.113.9", "2002:cb00:7105:5::1", "64:ff9b::203.0.113.200"] {
            assert_eq!(net(same), net("203.0.113.7"), "{same}");
        }
        assert_eq!(net("2001:db8:1:2::1"), net("2001:db8:1:2:ffff::9"));
        assert_ne!(net("2001:db8:1:2::1"), net("2001:db8:1:3::1"));
        assert_eq!(net("2001:db8:1:2::1").wide(), net("2001:db8:1:ffff::1").wide());
        assert_ne!(net("2001:db8:1:2::1").wide(), net("2001:db8:2:2::1").wide());
        assert_eq!(net("203.0.113.7").wide(), net("203.0.113.7"));
        for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(net(loopback), Net::Loopback, "{loopback}");
        }
        let holder = |text: &str| holder(text.parse().unwrap()).to_string();
        assert_eq!(holder("2001:db8:1:2:ffff::9"), "2001:db8:1:2::");
        assert_eq!((holder("::ffff:203.0.113.9"), holder("203.0.113.9")), ("203.0.113.9".into(), "203.0.113.9".into()));
    }
}

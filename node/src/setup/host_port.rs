//! A place in the network as people write it, `host:port`, where the host may have a name. What a name means is asked for
//! when it is needed, and again later: that nobody knows it today makes no setting wrong.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// Addresses of a name that are made use of.
const ADDRESSES_MAX: usize = 8;
/// Letters of a name at most, as the system of names has it.
const NAME_MAX: usize = 253;

/// A host, by its name or number, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<HostPort, String> {
        let wrong = |what: &str| format!("'{text}' is no address: {what}");
        let form = "write host:port, for example 203.0.113.5:7645, [2001:db8::5]:7645 or node.example.org:7645";
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong(form))?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = digits.then(|| port.parse().ok()).flatten();
        let port = port.ok_or_else(|| wrong("its port is no number from 0 to 65535"))?;
        if let Some(inside) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            let ip: Ipv6Addr = inside.parse().map_err(|_| wrong("what stands in brackets is no IPv6 address"))?;
            return Ok(HostPort { host: ip.to_string(), port });
        }
        if host.contains(':') {
            return Err(wrong("an IPv6 address stands in brackets, as [2001:db8::5]:7645"));
        }
        let known = |letter: char| letter.is_alphanumeric() || ['-', '_', '.'].contains(&letter);
        if host.is_empty() || host.len() > NAME_MAX || !host.chars().all(known) {
            return Err(wrong(form));
        }
        Ok(HostPort { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl HostPort {
    /// Its address, if it is written as a number: nobody has to be asked then.
    pub fn numeric(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.parse::<IpAddr>().ok()?, self.port))
    }

    /// Its addresses as they are now. A name is asked for, which may take seconds.
    ///
    /// # Errors
    /// When the name has none, or nobody can be asked.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if let Some(address) = self.numeric() {
            return Ok(vec![address]);
        }
        let mut addresses = Vec::new();
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            if !addresses.contains(&address) && addresses.len() < ADDRESSES_MAX {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(addresses)
    }

    /// One of its addresses as they are now, that of IPv4 before others.
    ///
    /// # Errors
    /// When there is none.
    pub fn address(&self) -> io::Result<SocketAddr> {
        let addresses = self.addresses()?;
        let found = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        Ok(*found.expect("a name without an address is an error"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_read_and_what_is_neither_is_told() {
        let read = |text: &str| text.parse::<HostPort>();
        for text in ["203.0.113.5:7645", "[2001:db8::5]:7645", "127.0.0.1:0"] {
            assert_eq!(read(text).unwrap().numeric(), Some(text.parse().unwrap()), "{text}");
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        for text in ["localhost:7645", "no-such-host.invalid:1", "my_node:7645"] {
            assert_eq!((read(text).unwrap().numeric(), read(text).unwrap().to_string()), (None, text.to_owned()));
        }
        assert!(read("localhost:7645").unwrap().address().unwrap().ip().is_loopback());
        assert!(read("no-such-host.invalid:1").unwrap().addresses().is_err());
        for (text, words) in [
            ("", "write host:port"),
            ("nowhere", "write host:port"),
            (":7645", "write host:port"),
            ("a b:7645", "write host:port"),
            ("host:", "its port"),
            ("host:+5", "its port"),
            ("host:70000", "its port"),
            ("2001:db8::5:7645", "in brackets"),
            ("[host]:7645", "in brackets"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}

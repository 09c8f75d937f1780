//! Where minters are reached: as the chain has it, and as the network calls it.

use dynemix_engine::base::ids::Endpoint;
use dynemix_net::mesh::Target;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Where an endpoint is reached, if anywhere.
pub fn target_of(endpoint: &Endpoint) -> Option<Target> {
    let address = Ipv6Addr::from(endpoint.address).to_canonical();
    let somewhere = !address.is_unspecified() && endpoint.port != 0;
    somewhere.then(|| Target { key: endpoint.transport_key, address: SocketAddr::new(address, endpoint.port) })
}

/// The endpoint of an address and a key.
pub fn endpoint_of(address: Option<SocketAddr>, transport_key: [u8; 32]) -> Endpoint {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    match address {
        Some(address) => Endpoint { address: octets(address.ip()), port: address.port(), transport_key },
        None => Endpoint { transport_key, ..Endpoint::default() },
    }
}

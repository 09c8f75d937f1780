//! Meshes that run, for the tests.

#![allow(dead_code, reason = "each test uses its part")]

use dynemix_net::mesh::{
    Doorkeeper, Event, Mesh, MeshHandle, MeshLimits, MeshOptions, PeerInfo, Target, TransportKey, public_key,
};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Names are the first byte of a key; a hello says the name, and `known` decides.
pub(crate) struct Door {
    pub(crate) name: Option<u8>,
}

impl Doorkeeper for Door {
    fn hello(&self, hash: &[u8; 32]) -> Vec<u8> {
        let mut hello = hash.to_vec();
        hello.extend(self.name);
        hello
    }

    fn admit(&self, hello: &[u8], _: &TransportKey, hash: &[u8; 32]) -> Result<Option<u32>, String> {
        match hello.strip_prefix(hash) {
            Some([]) => Ok(None),
            Some([name]) if *name < 100 => Ok(Some(u32::from(*name))),
            _ => Err("a hello of another handshake, or an unknown name".into()),
        }
    }
}

#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    Opened(PeerInfo),
    Frame(PeerInfo, u8, Vec<u8>),
    Closed(PeerInfo, &'static str),
    TurnedAway,
}

pub(crate) struct Running {
    pub(crate) handle: MeshHandle,
    seen: Receiver<Seen>,
    pub(crate) key: TransportKey,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.address().unwrap()
    }

    pub(crate) fn target(&self) -> Target {
        Target { key: self.key, address: self.address() }
    }

    pub(crate) fn wait(&self, what: impl Fn(&Seen) -> bool) -> Seen {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let seen =
                self.seen.recv_timeout(end.saturating_duration_since(Instant::now())).expect("it happens in time");
            if what(&seen) {
                return seen;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        self.thread.take().map(|thread| thread.join());
    }
}

pub(crate) fn start_with(secret: u8, name: Option<u8>, prologue: &[u8], limits: MeshLimits, link: &str) -> Running {
    let secret = [secret; 32];
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let options = MeshOptions { listen, prologue: prologue.to_vec(), secret, limits, link: link.parse().unwrap() };
    let (mesh, handle) = Mesh::new(options, Door { name }).unwrap();
    let (tell, seen) = channel();
    let thread = std::thread::spawn(move || {
        mesh.run(|event| {
            let _ = tell.send(match event {
                Event::Opened(peer, ..) => Seen::Opened(peer),
                Event::Frame(peer, class, body) => Seen::Frame(peer, class, body.to_vec()),
                Event::Closed(peer, why) => Seen::Closed(peer, why),
                Event::TurnedAway(..) => Seen::TurnedAway,
            });
        })
        .unwrap();
    });
    Running { handle, seen, key: public_key(&secret), thread: Some(thread) }
}

pub(crate) fn start(secret: u8, name: Option<u8>) -> Running {
    start_with(secret, name, b"chain", MeshLimits::default(), "")
}

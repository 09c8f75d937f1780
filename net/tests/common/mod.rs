//! Meshes that run, for the tests.

#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod flood;

use dynemix_net::mesh::{
    Channel, Claim, Doorkeeper, Event, HANDSHAKE_BYTES_MAX, Mesh, MeshHandle, MeshLimits, MeshOptions, PeerInfo, Read,
    Target, TransportKey, public_key,
};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A hello is the handshake's hash and a name of four bytes, and proves the name if the hash is that of its handshake.
/// Names from a million on are known to nobody.
#[derive(Clone, Default)]
pub(crate) struct Door {
    pub(crate) name: Option<u32>,
    /// Hellos of ours that were made: each costs a signature.
    pub(crate) signed: Arc<AtomicUsize>,
}

impl Doorkeeper for Door {
    fn hello(&self, hash: &[u8; 32]) -> Vec<u8> {
        self.signed.fetch_add(1, Ordering::Relaxed);
        hello_of(hash, self.name)
    }

    fn read(&self, hello: &[u8]) -> Result<Claim, String> {
        match hello.get(32..) {
            Some([]) => Ok(Claim::Guest),
            Some([1]) => Ok(Claim::Joining),
            Some(name) if name.len() == 4 => {
                let name = u32::from_le_bytes(name.try_into().expect("four bytes"));
                Ok(if name < 1_000_000 { Claim::Named(name) } else { Claim::Guest })
            }
            _ => Err("no hello".into()),
        }
    }

    fn prove(&self, hello: &[u8], _: u32, _: &TransportKey, hash: &[u8; 32]) -> bool {
        hello.starts_with(hash)
    }
}

pub(crate) fn hello_of(hash: &[u8; 32], name: Option<u32>) -> Vec<u8> {
    let mut hello = hash.to_vec();
    hello.extend(name.iter().flat_map(|name| name.to_le_bytes()));
    hello
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
    pub(crate) signed: Arc<AtomicUsize>,
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

    /// Waits until something is so.
    pub(crate) fn until(&self, what: &str, is: impl Fn(&MeshHandle) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is(&self.handle) {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        self.thread.take().map(|thread| thread.join());
    }
}

/// A mesh that hands each event to `on`, in its own thread, which `first` runs in before.
pub(crate) fn run_with(
    secret: u8,
    name: Option<u32>,
    (prologue, link): (&[u8], &str),
    limits: MeshLimits,
    first: impl FnOnce() + Send + 'static,
    mut on: impl FnMut(Event) -> Option<Seen> + Send + 'static,
) -> Running {
    let secret = [secret; 32];
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let options = MeshOptions { listen, prologue: prologue.to_vec(), secret, limits, link: link.parse().unwrap() };
    let door = Door { name, ..Door::default() };
    let signed = door.signed.clone();
    let (mesh, handle) = Mesh::new(options, door).unwrap();
    let (tell, seen) = channel();
    let thread = std::thread::spawn(move || {
        first();
        mesh.run(|event| {
            let _ = on(event).map(|seen| tell.send(seen));
        })
        .unwrap();
    });
    Running { handle, signed, seen, key: public_key(&secret), thread: Some(thread) }
}

pub(crate) fn start_with(secret: u8, name: Option<u32>, prologue: &[u8], limits: MeshLimits, link: &str) -> Running {
    run_with(
        secret,
        name,
        (prologue, link),
        limits,
        || (),
        |event| {
            Some(match event {
                Event::Opened(peer, ..) => Seen::Opened(peer),
                Event::Frame(peer, class, body) => Seen::Frame(peer, class, body.to_vec()),
                Event::Closed(peer, why) => Seen::Closed(peer, why),
                Event::TurnedAway(..) => Seen::TurnedAway,
            })
        },
    )
}

pub(crate) fn start(secret: u8, name: Option<u32>) -> Running {
    start_with(secret, name, b"chain", MeshLimits::default(), "")
}

/// A client by hand: the handshake, and then whatever it likes.
pub(crate) struct ByHand {
    pub(crate) stream: TcpStream,
    pub(crate) channel: Channel,
}

impl ByHand {
    /// The handshake, without a hello.
    pub(crate) fn connect(address: SocketAddr, secret: &[u8; 32]) -> std::io::Result<ByHand> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut client = ByHand { stream, channel: Channel::new(secret, b"chain", true) };
        loop {
            let mut out = Vec::new();
            client.channel.shake(&mut out).unwrap();
            client.stream.write_all(&out)?;
            if client.channel.is_open() {
                return Ok(client);
            }
            let message = client.read_message()?;
            client.channel.read(&mut &message[..]).unwrap();
        }
    }

    /// With a hello that is admitted: until the other side's has come.
    pub(crate) fn introduced(address: SocketAddr, secret: &[u8; 32], name: Option<u32>) -> std::io::Result<ByHand> {
        let mut client = ByHand::connect(address, secret)?;
        let hello = hello_of(client.channel.handshake_hash(), name);
        client.say(255, &hello);
        let message = client.read_message()?;
        match client.channel.read(&mut &message[..]) {
            Ok(Read::Piece(255, _)) => Ok(client),
            other => panic!("a hello was to follow, and {other:?} did"),
        }
    }

    fn read_message(&mut self) -> std::io::Result<Vec<u8>> {
        let mut length = [0; 2];
        self.stream.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        assert!(message.len() <= 20_000 || !self.channel.is_open() && message.len() <= HANDSHAKE_BYTES_MAX);
        self.stream.read_exact(&mut message)?;
        Ok([&length[..], &message].concat())
    }

    /// Says a piece; false if the connection is closed by now.
    pub(crate) fn say(&mut self, class: u8, bytes: &[u8]) -> bool {
        let mut out = Vec::new();
        self.channel.write(class, &[bytes], &mut out);
        self.stream.write_all(&out).is_ok()
    }

    pub(crate) fn is_closed(&mut self, within: Duration) -> bool {
        let end = Instant::now() + within;
        let mut bytes = [0; 4096];
        self.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while Instant::now() < end {
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return true,
                _ => {}
            }
        }
        false
    }
}

/// As many descriptors as this process may have.
pub(crate) fn raise_descriptors() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
}

pub(crate) fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

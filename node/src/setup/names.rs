//! Hosts that have names: whom a node calls by one, and where it is reached itself. Names are asked for at the start and
//! now and then, since nobody may know them at this moment, and since they come to mean other addresses.

use super::host_port::HostPort;
use dynemix_net::mesh::Target;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// When names are asked for again that have an address.
const AGAIN: Duration = Duration::from_secs(300);
/// The same when one has none.
const SOON: Duration = Duration::from_secs(15);

/// Where peers and the node itself are to be reached, as the operator has written it.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Keys of peers, and where each is.
    pub peers: Vec<([u8; 32], HostPort)>,
    /// Where others reach this node.
    pub public: Option<HostPort>,
}

/// The same by addresses, as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Peers at each of their addresses.
    pub peers: Vec<Target>,
    /// Where others reach this node; none while its name has no address.
    pub public: Option<SocketAddr>,
}

/// Asks for what each name means, and says what has none, once.
struct Asker {
    names: Names,
    silent: BTreeSet<String>,
    /// What each meant when it was last known: who asks may have no line just now.
    known: BTreeMap<String, Vec<SocketAddr>>,
}

impl Asker {
    fn heard(&mut self, setting: &str, at: &HostPort, answer: io::Result<Vec<SocketAddr>>) -> Vec<SocketAddr> {
        let name = format!("{setting}: {at}");
        match &answer {
            Err(error) if self.silent.insert(name.clone()) => {
                tracing::warn!("{name} has no address at this moment ({error}); it is asked for again");
            }
            Ok(addresses) if self.silent.remove(&name) => tracing::info!("{name} is {} now", addresses[0]),
            _ => {}
        }
        match answer {
            Ok(addresses) => {
                self.known.insert(name, addresses.clone());
                addresses
            }
            Err(_) => self.known.get(&name).cloned().unwrap_or_default(),
        }
    }

    fn ask(&mut self) -> Found {
        let Names { peers, public } = self.names.clone();
        // All at once: a server of names that is silent takes its time with each.
        let asked: Vec<_> = peers.iter().map(|(_, at)| at).chain(&public).cloned().collect();
        let threads: Vec<_> = asked.into_iter().map(|at| thread::spawn(move || at.addresses())).collect();
        let nobody = || Err(io::Error::other("it could not be asked for"));
        let mut answers = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| nobody()));
        let mut found = Found::default();
        for (key, at) in &peers {
            let answer = answers.next().expect("each was asked for");
            let addresses = self.heard("network.peers", at, answer).into_iter();
            found.peers.extend(addresses.map(|address| Target { key: *key, address }));
        }
        found.public = public.and_then(|at| {
            let addresses = self.heard("network.public", &at, answers.next().expect("it was asked for"));
            addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied()
        });
        found
    }

    fn follow(mut self, tell: &Sender<Found>) {
        let mut told = None;
        loop {
            let found = self.ask();
            if told.as_ref() != Some(&found) {
                // Whoever listens has gone: so does this.
                if tell.send(found.clone()).is_err() {
                    return;
                }
                told = Some(found);
            }
            thread::sleep(if self.silent.is_empty() { AGAIN } else { SOON });
        }
    }
}

impl Names {
    /// What needs no answer of anybody.
    pub fn numeric(&self) -> Found {
        let target = |(key, at): &([u8; 32], HostPort)| Some(Target { key: *key, address: at.numeric()? });
        let public = self.public.as_ref().and_then(HostPort::numeric);
        Found { peers: self.peers.iter().filter_map(target).collect(), public }
    }

    /// What they mean, on a thread of its own: as soon as all have been asked for, and whenever that changes.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn follow(self) -> io::Result<Receiver<Found>> {
        let (tell, told) = channel();
        let numbers = self.peers.iter().map(|(_, at)| at).chain(&self.public).all(|at| at.numeric().is_some());
        if numbers {
            let _ = tell.send(self.numeric());
            return Ok(told);
        }
        let asker = Asker { names: self, silent: BTreeSet::new(), known: BTreeMap::new() };
        thread::Builder::new().name("names".into()).spawn(move || asker.follow(&tell))?;
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_knows_keeps_no_other_from_being_called() {
        let at = |text: &str| text.parse::<HostPort>().unwrap();
        let peers = vec![([1; 32], at("no-such-host.invalid:1")), ([2; 32], at("127.0.0.1:2"))];
        let names = Names { peers, public: Some(at("localhost:3")) };
        assert_eq!(names.numeric(), Found { peers: vec![target(2)], public: None });
        let found = names.follow().unwrap().recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(found.peers, [target(2)]);
        assert!(found.public.is_some_and(|address| address.ip().is_loopback() && address.port() == 3));
    }

    fn target(number: u8) -> Target {
        Target { key: [number; 32], address: SocketAddr::from(([127, 0, 0, 1], number.into())) }
    }
}

//! A crowd of peers at their worst, in a process of its own, and what it does to a mesh that is measured.

use super::{ByHand, Running, Seen, raise_descriptors, resident_bytes, run_with, start_with};
use dynemix_net::mesh::{
    Body, CLASSES, Event, HandshakeWork, Ledger, MeshLimits, NODE_PARTS, PeerInfo, SHARES, Share, Standing, To,
};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How many of each standing the crowd has; all but the guests have names, from 1 on in this order.
#[derive(Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) budget: usize,
    pub(crate) of: [(Standing, usize); 6],
    pub(crate) time: Duration,
}

/// The name of the one that is honest, and has a seat.
const HONEST: u32 = 900_000;
/// Bytes of its frames, of which it sends one each fifth of a second.
const HONEST_BYTES: usize = 1 << 20;
/// How long the node needs for what it is told.
const WORKED_OFF_IN: Duration = Duration::from_millis(300);

/// What a crowd has done to a mesh.
#[derive(Debug)]
pub(crate) struct Harm {
    /// The most that the budget's counters have shown, in all and by share.
    pub(crate) most: usize,
    pub(crate) most_of: [usize; SHARES],
    /// The most by which the process has grown.
    pub(crate) grown: usize,
    /// Frames of the honest one that have come, and that it has sent.
    pub(crate) heard: usize,
    pub(crate) said: usize,
    /// Connections that ended for memory's sake.
    pub(crate) overfull: u64,
}

impl Crowd {
    fn limits(&self) -> MeshLimits {
        // The rate of handshakes has tests of its own: here it would only make the crowd smaller.
        let handshake_work = HandshakeWork { total_micros: 20_000_000, net_micros: 20_000_000 };
        MeshLimits {
            budget_bytes: self.budget,
            handshake_work,
            hello_time: Duration::from_secs(60),
            ..Default::default()
        }
    }

    fn members(&self) -> Vec<(u32, Standing)> {
        let all = self.of.iter().flat_map(|&(standing, count)| std::iter::repeat_n(standing, count));
        (1..).zip(all).collect()
    }

    fn call(&self, address: SocketAddr) -> Child {
        let counts: Vec<String> = self.of.iter().map(|of| of.1.to_string()).collect();
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crowd", "--nocapture"])
            .env("DYNEMIX_TEST_CROWD", format!("{address} {} {}", self.budget, counts.join(" ")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Lets the crowd do its worst to a mesh, in whose thread `first` runs before.
    pub(crate) fn attack(&self, first: impl FnOnce() + Send + 'static) -> Harm {
        raise_descriptors();
        let (open, later) =
            (Arc::new(Mutex::new(Vec::<PeerInfo>::new())), Arc::new(Mutex::new(Vec::<(Instant, Body)>::new())));
        let heard = Arc::new(AtomicUsize::new(0));
        let (opens, keeps, hears) = (open.clone(), later.clone(), heard.clone());
        let node = run_with(1, Some(900_001), (b"chain", ""), self.limits(), first, move |event| {
            match event {
                Event::Opened(peer, ..) => opens.lock().unwrap().push(peer),
                Event::Closed(peer, _) => opens.lock().unwrap().retain(|open| open.id != peer.id),
                Event::Frame(peer, _, body) if peer.name == Some(HONEST) => {
                    assert_eq!(body.len(), HONEST_BYTES);
                    hears.fetch_add(1, Ordering::Relaxed);
                }
                Event::Frame(_, _, body) => keeps.lock().unwrap().push((Instant::now(), body)),
                Event::TurnedAway(..) => {}
            }
            None
        });
        let standings = self.members().into_iter().filter(|member| member.1 >= Standing::Named);
        node.handle.set_standings(standings.chain([(HONEST, Standing::Seated)]).collect());
        let honest = start_with(2, Some(HONEST), b"chain", MeshLimits::default(), "");
        honest.handle.set_standings([(900_001, Standing::Seated)].into());
        honest.handle.set_targets(vec![node.target()]);
        honest.wait(|seen| matches!(seen, Seen::Opened(_)));
        let before = resident_bytes();
        let mut crowd = self.call(node.address());
        let mut harm = Harm { most: 0, most_of: [0; SHARES], grown: 0, heard: 0, said: 0, overfull: 0 };
        let (begun, mut told_at) = (Instant::now(), Instant::now());
        while begun.elapsed() < self.time {
            std::thread::sleep(Duration::from_millis(10));
            let ledger = node.handle.ledger();
            for (most, share) in harm.most_of.iter_mut().zip(Share::ALL) {
                *most = (*most).max(ledger.used(share));
            }
            harm.grown = harm.grown.max(resident_bytes().saturating_sub(before));
            later.lock().unwrap().retain(|(came, _)| came.elapsed() < WORKED_OFF_IN);
            if told_at.elapsed() > Duration::from_millis(200) {
                told_at = Instant::now();
                harm.said += 1;
                honest.handle.send(To::Name(900_001), 1, vec![7; HONEST_BYTES].into());
                Crowd::tell(&node, &open);
            }
        }
        crowd.kill().unwrap();
        crowd.wait().unwrap();
        harm.most = node.handle.ledger().most();
        harm.heard = heard.load(Ordering::Relaxed);
        harm.overfull = node.handle.counters().overfull.load(Ordering::Relaxed);
        harm
    }

    /// Something for everyone, that nobody reads.
    fn tell(node: &Running, open: &Mutex<Vec<PeerInfo>>) {
        let open = open.lock().unwrap();
        // All names are asked for something: some of them answer at length.
        for peer in open.iter().filter(|peer| peer.standing == Standing::Named) {
            node.handle.ask(To::Peer(peer.id), 0, vec![1].into(), 1);
        }
        let of_crowd = open.iter().filter(|peer| peer.name != Some(HONEST));
        node.handle.send_all(of_crowd.map(|peer| (To::Peer(peer.id), 2, vec![3; 256 << 10].into())));
    }
}

/// One of the crowd: it says what fills memory, finished or not, and reads nothing.
struct Attacker {
    secret: [u8; 32],
    name: Option<u32>,
    lengths: [usize; CLASSES],
    finishes: bool,
    client: Option<ByHand>,
    /// Bytes of the frame of each class that are said.
    said: [usize; CLASSES],
    out: Vec<u8>,
}

impl Attacker {
    fn begin(&mut self, address: SocketAddr) {
        let Ok(client) = ByHand::introduced(address, &self.secret, self.name) else { return };
        client.stream.set_nonblocking(true).unwrap();
        (self.client, self.said) = (Some(client), [0; CLASSES]);
        self.out.clear();
    }

    /// Encrypts the next piece, if there is any more to say.
    fn next(&mut self) {
        let whole = |class: usize| self.lengths[class] + 4;
        // All but a few bytes of each frame.
        let end = |class: usize| if self.finishes { whole(class) } else { whole(class) - 8 };
        let Some(class) = (0..CLASSES).rev().find(|&class| self.said[class] < end(class)) else {
            if self.finishes {
                self.said = [0; CLASSES];
            }
            return;
        };
        let bytes = (end(class) - self.said[class]).min(16_000);
        let mut piece = vec![1; bytes];
        if self.said[class] == 0 {
            piece[..4].copy_from_slice(&(self.lengths[class] as u32).to_le_bytes());
        }
        self.said[class] += bytes;
        let Some(client) = &mut self.client else { return };
        client.channel.write(class as u8, &[&piece], &mut self.out);
    }

    fn step(&mut self, address: SocketAddr) {
        if self.client.is_none() {
            return self.begin(address);
        }
        for _ in 0..16 {
            if self.out.is_empty() {
                self.next();
            }
            let Some(client) = &mut self.client else { return };
            match client.stream.write(&self.out) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.client = None,
            }
            if self.out.is_empty() && !self.finishes && self.said.iter().zip(self.lengths).all(|(a, b)| a + 4 >= b) {
                return;
            }
        }
    }
}

/// The crowd's own process; nothing where no test has ordered it.
pub(crate) fn crowd() {
    let Ok(order) = std::env::var("DYNEMIX_TEST_CROWD") else { return };
    raise_descriptors();
    let mut words = order.split(' ');
    let address: SocketAddr = words.next().unwrap().parse().unwrap();
    let budget: usize = words.next().unwrap().parse().unwrap();
    let counts: Vec<usize> = words.map(|word| word.parse().unwrap()).collect();
    let ledger = Ledger::new(budget, &NODE_PARTS);
    let standings = ORDER.into_iter().zip(counts).flat_map(|(standing, count)| std::iter::repeat_n(standing, count));
    let mut attackers: Vec<Attacker> = (1u32..)
        .zip(standings)
        .map(|(number, standing)| {
            let mut secret = [77; 32];
            secret[..4].copy_from_slice(&number.to_le_bytes());
            let most = ledger.ceiling(Share::Of(standing)) / 2;
            let mut lengths = standing.bounds().frame_max.map(|max| max.min(most));
            if standing == Standing::Named && number % 4 == 1 {
                lengths[2] = ledger.ceiling(Share::Answers) / 5;
            }
            let name = (standing != Standing::Guest).then_some(number);
            let finishes = number % 4 == 0;
            Attacker { secret, name, lengths, finishes, client: None, said: [0; CLASSES], out: Vec::new() }
        })
        .collect();
    // It ends with whoever has ordered it.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_line(&mut String::new());
        std::process::exit(0);
    });
    // Several call at a time: each waits for the other side's part of its handshake.
    let part = attackers.len().div_ceil(16);
    std::thread::scope(|scope| {
        for attackers in attackers.chunks_mut(part) {
            scope.spawn(move || {
                loop {
                    attackers.iter_mut().for_each(|attacker| attacker.step(address));
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
    });
}

/// The order of a crowd.
pub(crate) const ORDER: [Standing; 6] =
    [Standing::Seated, Standing::Drawn, Standing::Custodian, Standing::Forwarder, Standing::Named, Standing::Guest];

/// So many of each, in a budget of so many bytes, for so long.
pub(crate) fn crowd_of(counts: [usize; 6], budget: usize, time: Duration) -> Crowd {
    Crowd { budget, of: std::array::from_fn(|place| (ORDER[place], counts[place])), time }
}

/// What a crowd may do at most, and what it must do to have been one.
///
/// # Errors
/// What it has done that it must not be able to.
pub(crate) fn judge(crowd: &Crowd, harm: &Harm) -> Result<(), String> {
    let Crowd { budget, of, .. } = crowd;
    // What is not the mesh's: the honest one, and this test.
    let real_max = budget + (8 << 20);
    if harm.most > *budget || harm.grown > real_max {
        return Err(format!("{} bytes counted, {} grown, of {budget}: {harm:?}", harm.most, harm.grown));
    }
    let ledger = Ledger::new(*budget, &NODE_PARTS);
    for (place, share) in Share::ALL.into_iter().enumerate() {
        if harm.most_of[place] > ledger.ceiling(share) + (1 << 20) {
            return Err(format!("{} of {} in {share:?}: too much", harm.most_of[place], ledger.ceiling(share)));
        }
        let attacked = of.iter().any(|(standing, count)| share == Share::Of(*standing) && *count > 0);
        // Three quarters are for what comes, and answers are few and long.
        let least = if share == Share::Answers { ledger.ceiling(share) / 3 } else { ledger.ceiling(share) / 3 * 2 };
        if (attacked || share == Share::Answers) && harm.most_of[place] < least {
            return Err(format!("{} of {} in {share:?}: no flood", harm.most_of[place], ledger.ceiling(share)));
        }
    }
    if harm.grown < harm.most / 2 {
        return Err(format!("{} bytes counted, and only {} there", harm.most, harm.grown));
    }
    // Two cores that a crowd, its victim and others share are slow; silence would be none at all.
    if harm.heard < harm.said / 2 {
        return Err(format!("of {} honest frames {} came", harm.said, harm.heard));
    }
    Ok(())
}

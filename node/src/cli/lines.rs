//! The lines of the load generator: guests of the node, as programs of users are.

use dynemix::peer::frames::Outcome;
use dynemix::peer::guest::{Guest, Heard};
use dynemix_bench::generator::{EngineAddress, GeneratorOrder, Lines, Said};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::transaction::cell::Cell;
use dynemix_net::mesh::{PeerId, Target};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long the node may take to let all lines in.
const WELCOME: Duration = Duration::from_secs(30);

struct Line {
    guest: Guest,
    /// How often it was opened; what an earlier one still says is not heard.
    opened: u32,
    /// None while the node has not let it in.
    peer: Option<PeerId>,
}

/// Guests of a node, each with a key and a connection of its own.
pub(crate) struct GuestLines {
    chain: Hash,
    node: Target,
    lines: Vec<Line>,
    heard: Receiver<(usize, u32, Heard)>,
    tell: Sender<(usize, u32, Heard)>,
}

impl GuestLines {
    /// Opens all lines of an order.
    ///
    /// # Errors
    /// When the system refuses, or the node does not let them in.
    pub(crate) fn open(order: &GeneratorOrder, engine: EngineAddress) -> io::Result<GuestLines> {
        let (tell, heard) = channel();
        let node = Target { key: engine.key, address: engine.address };
        let mut lines = GuestLines { chain: order.genesis_hash, node, lines: Vec::new(), heard, tell };
        for line in 0..order.connections.max(1) {
            let guest = lines.call(line, 0)?;
            lines.lines.push(Line { guest, opened: 0, peer: None });
        }
        let end = Instant::now() + WELCOME;
        while lines.lines.iter().any(|line| line.peer.is_none()) {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the node did not let all connections in");
            let (line, opened, heard) =
                lines.heard.recv_timeout(end.saturating_duration_since(Instant::now())).map_err(late)?;
            if let (Heard::Opened(peer, _), true) = (heard, opened == lines.lines[line].opened) {
                lines.lines[line].peer = Some(peer);
            }
        }
        Ok(lines)
    }

    fn call(&self, line: usize, opened: u32) -> io::Result<Guest> {
        let tell = self.tell.clone();
        // Whoever waited for it has gone.
        Guest::call(self.chain, vec![self.node], move |heard| drop(tell.send((line, opened, heard))))
    }

    fn take(&mut self, (line, opened, heard): (usize, u32, Heard), out: &mut Vec<Said>) -> io::Result<()> {
        if opened != self.lines[line].opened {
            return Ok(());
        }
        match heard {
            Heard::Opened(peer, _) => self.lines[line].peer = Some(peer),
            Heard::Outcome(_, Outcome { refusal, ordinals, height, .. }, at) => {
                out.push(Said::Ended { line, ordinals, refusal: Refusal::from_number(refusal), height, at });
            }
            // Under its key it would not be let in again.
            Heard::Closed(_) => {
                let guest = self.call(line, opened + 1)?;
                self.lines[line] = Line { guest, opened: opened + 1, peer: None };
                out.push(Said::Cut { line });
            }
        }
        Ok(())
    }
}

impl Lines for GuestLines {
    fn is_open(&self, line: usize) -> bool {
        self.lines[line].peer.is_some()
    }

    fn send(&mut self, line: usize, first: u64, cells: &[Cell]) {
        let Line { guest, peer, .. } = &self.lines[line];
        guest.hand_in([(peer.expect("asked before"), first, cells)]);
    }

    fn hear(&mut self, wait: Duration, out: &mut Vec<Said>) -> io::Result<()> {
        match self.heard.recv_timeout(wait) {
            Ok(heard) => self.take(heard, out)?,
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is held here"),
        }
        while let Ok(heard) = self.heard.try_recv() {
            self.take(heard, out)?;
        }
        Ok(())
    }
}

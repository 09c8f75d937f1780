//! A real node on loopback, and a client that speaks to it like any other.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use bytemuck::Zeroable;
use dynemix::pipeline::ledger::{SlotPlan, StorageConfig};
use dynemix::pipeline::run::{Pipeline, PipelineConfig};
use dynemix::pipeline::topology::Sizes;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::parameters::{Chain, ChainParameters, DYNE};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::client_frames::{FrameKind, HEADER_BYTES, Header, OUTCOME_BYTES, hello};
use dynemix_engine::verify::Simd;
use dynemix_net::Limits;
use dynemix_storage::{RealDisk, StoreOptions};
use ed25519_dalek::{Signer, SigningKey};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub const SLOT_MS: u64 = 20;
pub const ACCOUNTS: u8 = 8;
/// `expires_slot` of ordinary transactions.
pub const EXPIRES: u64 = 4_000;

pub fn secret(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub fn key(number: u8) -> Key {
    secret(number).verifying_key().to_bytes()
}

pub fn config(directory: &Path) -> PipelineConfig {
    let genesis: Vec<(Key, u64)> = (0..ACCOUNTS).map(|number| (key(number), 1_000 * DYNE)).collect();
    PipelineConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        disk: Arc::new(RealDisk::new(directory).unwrap()),
        storage: StorageConfig {
            options: StoreOptions { segment_bytes: 1 << 20, ..StoreOptions::default() },
            ..StorageConfig::default()
        },
        parameters: ChainParameters { slot_ms: SLOT_MS, ..ChainParameters::default() },
        genesis: Arc::new(genesis),
        supply: 1_000 * DYNE * u64::from(ACCOUNTS),
        sizes: Sizes {
            slots: 4096,
            payload_slots: 16,
            verify_threads: 2,
            simd: Simd::best(),
            accounts_max: 4096,
            key_cache_keys: 1024,
            limits: Limits {
                connections_max: 256,
                frame_timeout: Duration::from_millis(300),
                out_bytes_max: 1 << 20,
                out_bytes_total_max: 16 << 20,
            },
        },
        verify_batch_max: 1024,
        plan: SlotPlan::Timed { slot_ms: SLOT_MS },
    }
}

pub fn transfer(chain: &Chain, sender: u8, recipient: Key, amount: u64, sequence: u64) -> Cell {
    let cell =
        Cell { recipient, amount, sequence, expires_slot: EXPIRES, version: 1, kind: 1, outputs: 1, ..Cell::zeroed() };
    sign(chain, sender, cell)
}

pub fn sign(chain: &Chain, sender: u8, cell: Cell) -> Cell {
    let mut cell = Cell { sender: key(sender), ..cell };
    cell.signature = secret(sender).sign(&[&chain.transaction_prefix[..], cell.signed_part()].concat()).to_bytes();
    cell
}

/// What the node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Welcome,
    Outcomes(Vec<(u32, Result<(), Refusal>)>),
    Refused(Refusal),
    Closed,
}

pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream }
    }

    pub fn welcomed(pipeline: &Pipeline) -> Client {
        let mut client = Client::connect(pipeline.address());
        client.send(&hello(&pipeline.chain().genesis_hash));
        assert_eq!(client.listen(), Said::Welcome);
        client
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn submit(&mut self, cells: &[Cell]) {
        for cells in cells.chunks(64) {
            let header =
                Header { length: (cells.len() * 192) as u32, kind: FrameKind::Submit as u8, count: cells.len() as u16 };
            self.send(&header.encode());
            self.send(bytemuck::cast_slice(cells));
        }
    }

    pub fn submit_with_payload(&mut self, cell: &Cell, payload: &[u8]) {
        let header = Header { length: (192 + payload.len()) as u32, kind: FrameKind::Payload as u8, count: 1 };
        self.send(&[&header.encode()[..], bytemuck::bytes_of(cell), payload].concat());
    }

    pub fn listen(&mut self) -> Said {
        let mut header = [0; HEADER_BYTES];
        if self.stream.read_exact(&mut header).is_err() {
            return Said::Closed;
        }
        let header = Header::decode(&header);
        let mut body = vec![0; header.length as usize];
        self.stream.read_exact(&mut body).unwrap();
        match header.kind {
            kind if kind == FrameKind::Welcome as u8 => Said::Welcome,
            kind if kind == FrameKind::Refused as u8 => Said::Refused(Refusal::from_number(body[0]).unwrap()),
            kind if kind == FrameKind::Outcome as u8 => {
                assert_eq!(body.len(), usize::from(header.count) * OUTCOME_BYTES);
                let record = |record: &[u8]| {
                    (
                        u32::from_le_bytes(record[..4].try_into().unwrap()),
                        Refusal::from_number(record[4]).map_or(Ok(()), Err),
                    )
                };
                Said::Outcomes(body.chunks_exact(OUTCOME_BYTES).map(record).collect())
            }
            kind => panic!("a frame of kind {kind}"),
        }
    }

    /// The outcomes of the next `count` transactions, by ordinal.
    pub fn outcomes(&mut self, count: usize) -> Vec<(u32, Result<(), Refusal>)> {
        let mut all = Vec::new();
        while all.len() < count {
            match self.listen() {
                Said::Outcomes(outcomes) => all.extend(outcomes),
                other => panic!("{other:?} instead of outcomes, after {all:?}"),
            }
        }
        assert_eq!(all.len(), count);
        all.sort_unstable_by_key(|outcome| outcome.0);
        all
    }

    /// Sends one transaction and waits for its outcome; none when the node goes away instead.
    pub fn try_outcome(&mut self, cell: &Cell) -> Option<Result<(), Refusal>> {
        let header = Header { length: 192, kind: FrameKind::Submit as u8, count: 1 };
        self.stream.write_all(&[&header.encode()[..], bytemuck::bytes_of(cell)].concat()).ok()?;
        let mut answer = [0; HEADER_BYTES + OUTCOME_BYTES];
        self.stream.read_exact(&mut answer).ok()?;
        Some(Refusal::from_number(answer[HEADER_BYTES + 4]).map_or(Ok(()), Err))
    }

    /// Sends one transaction and waits for its outcome.
    pub fn outcome(&mut self, cell: &Cell) -> Result<(), Refusal> {
        self.submit(&[*cell]);
        self.outcomes(1)[0].1
    }
}

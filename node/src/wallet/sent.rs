//! The list of what a key has sent: a line when something is signed, another when it has ended. For people: what decides
//! is what is kept of the transaction itself.

use super::kept::Kept;
use dynemix_engine::base::ids::Key;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};

/// Bytes of a list that are read at most, from its end: some ten thousand payments.
const READ_BYTES_MAX: u64 = 4 << 20;

/// How a transaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// In the block of this height, which is proved.
    Final(u64),
    /// In no block, and it cannot come into one any more, which is proved.
    Never,
}

/// Something that was signed here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Id of the transaction, in hexadecimal.
    pub id: String,
    /// What it does, for people.
    pub what: String,
    /// When, in Unix milliseconds by this computer's clock.
    pub signed_unix_ms: u64,
    /// The last slot in which it could come into a block.
    pub expires_slot: u64,
    /// How it has ended; none: not that this wallet knows.
    #[serde(default)]
    pub end: Option<End>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Sent(Sent),
    Ended { id: String, end: End },
}

impl Kept {
    /// Writes down what is about to go out.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn note_sent(&self, signer: &Key, sent: &Sent) -> io::Result<()> {
        self.append(signer, &Line::Sent(sent.clone()))
    }

    /// Writes down how it has ended.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn note_end(&self, signer: &Key, id: &str, end: End) -> io::Result<()> {
        self.append(signer, &Line::Ended { id: id.to_owned(), end })
    }

    /// What was sent, the oldest first.
    ///
    /// # Errors
    /// A list that cannot be read.
    pub fn sent(&self, signer: &Key) -> io::Result<Vec<Sent>> {
        let mut file = match File::open(self.list_path(signer)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let length = file.metadata()?.len();
        io::Seek::seek(&mut file, io::SeekFrom::Start(length.saturating_sub(READ_BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
        let mut all: Vec<Sent> = Vec::new();
        // A line that was cut off says nothing; those around it do.
        for line in bytes.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()) {
            match line {
                Line::Sent(sent) => all.push(sent),
                Line::Ended { id, end } => {
                    all.iter_mut().rev().find(|sent| sent.id == id).into_iter().for_each(|sent| sent.end = Some(end));
                }
            }
        }
        Ok(all)
    }

    /// Behind a line that was cut off a new one begins.
    fn append(&self, signer: &Key, line: &Line) -> io::Result<()> {
        let mut file = File::options().create(true).append(true).open(self.list_path(signer))?;
        let text = serde_json::to_string(line).expect("plain fields");
        file.write_all(format!("\n{text}\n").as_bytes())?;
        file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_listed_with_its_end_also_behind_a_line_that_was_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept::open(directory.path(), [1; 32]).unwrap();
        let sent = |id: &str| Sent {
            id: id.into(),
            what: "5 dynes to ada".into(),
            signed_unix_ms: 7,
            expires_slot: 9,
            end: None,
        };
        assert_eq!(kept.sent(&[2; 32]).unwrap(), []);
        kept.note_sent(&[2; 32], &sent("a")).unwrap();
        kept.note_end(&[2; 32], "a", End::Final(3)).unwrap();
        let mut file = File::options().append(true).open(kept.list_path(&[2; 32])).unwrap();
        file.write_all(b"{\"id\": \"b\", \"wh").unwrap();
        kept.note_sent(&[2; 32], &sent("c")).unwrap();
        kept.note_end(&[2; 32], "unknown", End::Never).unwrap();
        let all = kept.sent(&[2; 32]).unwrap();
        assert_eq!(all, [Sent { end: Some(End::Final(3)), ..sent("a") }, sent("c")]);
    }
}

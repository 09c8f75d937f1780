//! The thread that keeps own users' transactions: what is accepted is on the disk before anybody hears so, and before a
//! minter is told. While the disk is busy with one group the next gathers, so that each costs a write and a sync however
//! many it has; and it has a file and a thread of its own, so that what consensus makes durable never waits in one queue
//! with what users send.

use super::entry::{Entry, Promise};
use super::inbox::Inbox;
use crate::keep::accepted::{Accepted, AcceptedFile, GROUP_MAX};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::transaction::item::Item;
use dynemix_storage::StoreError;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

/// What one of the API's users is told of a transaction, and by which connection it came.
pub(super) type Said = (Item, u64, Result<(), Refusal>);

/// What the consensus thread does when a job of this thread is done.
#[derive(Default)]
pub struct Accepting {
    /// So many are followed anew.
    pub(super) fresh: usize,
    /// The API's users are told this of theirs, copies and refusals too: in the order in which they came.
    pub(super) said: Vec<Said>,
}

/// What the thread works with.
pub struct Promises {
    /// Where they are kept.
    pub file: AcceptedFile,
    /// Who is told.
    pub inbox: Arc<Inbox<Entry>>,
}

impl Promises {
    /// Runs until nobody asks any more.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn run(mut self, jobs: &Receiver<Promise>) -> Result<(), StoreError> {
        let mut next: Option<Promise> = None;
        while let Some(promise) = next.take().or_else(|| jobs.recv().ok()) {
            match promise {
                Promise::Rewrite(all) => self.file.rewrite(&all)?,
                Promise::Accept(mut group) => {
                    let mut count = 1;
                    while group.len() < GROUP_MAX {
                        match jobs.try_recv() {
                            Ok(Promise::Accept(more)) => {
                                group.extend(more);
                                count += 1;
                            }
                            Ok(rewrite) => {
                                next = Some(rewrite);
                                break;
                            }
                            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                        }
                    }
                    self.keep(&group)?;
                    self.inbox.push_own(Entry::Accepted(count));
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, group: &[Accepted]) -> Result<(), StoreError> {
        // None of what was handed in is new: whoever waits for it hears that it is durable.
        group.chunks(GROUP_MAX).try_for_each(|part| self.file.append(part))
    }
}

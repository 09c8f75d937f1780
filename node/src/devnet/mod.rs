//! A network of real node processes on one computer: its files, its load, its verdict.
//!
//! * [`layout`] writes genesis, keys and configurations; every secret follows from a number and is worth nothing.
//! * [`ports`] keeps two devnets of one computer apart, [`lock`] two commands that want one directory.
//! * [`processes`] starts the nodes, asks them, stops them; [`stop`] does so from elsewhere, [`reset`] removes the files,
//!   [`dump`] puts them into one.
//! * [`hints`] says what to type next; [`scratch`] is a directory that goes with its process.
//! * [`load`] offers transactions over the peers' protocol and hears what became of them.
//! * `fate` is what becomes of one of them.
//! * [`flood`] is a minter that lies, [`lies`] what it says.
//! * [`opening`] is what a run begins with; [`run`] brings them together, slot by slot; `watched` is what it has seen of the nodes; [`report`] is the table, the JSON and the verdict.

pub mod dump;
mod fate;
pub mod flood;
pub mod hints;
pub mod layout;
pub mod lies;
pub mod load;
pub mod lock;
pub mod opening;
pub mod ports;
pub mod processes;
pub mod report;
pub mod reset;
pub mod run;
pub mod scratch;
pub mod stop;
mod watched;

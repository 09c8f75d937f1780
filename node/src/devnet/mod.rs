//! A network of real node processes on one computer: its files, its load, its verdict.
//!
//! * [`layout`] writes genesis, keys and configurations; every secret follows from a number and is worth nothing.
//! * [`ports`] keeps two devnets of one computer apart.
//! * [`processes`] starts the nodes, asks them, stops them.
//! * [`load`] offers transactions over the peers' protocol and hears what became of them.
//! * `fate` is what becomes of one of them.
//! * [`flood`] is a minter that lies, [`lies`] what it says.
//! * [`run`] brings them together, slot by slot; [`report`] is the table, the JSON and the verdict.

mod fate;
pub mod flood;
pub mod layout;
pub mod lies;
pub mod load;
pub mod ports;
pub mod processes;
pub mod report;
pub mod run;

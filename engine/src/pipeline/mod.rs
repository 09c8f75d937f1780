//! cells, [`ring`]s carry them between stages as 32-bit handles, [`in_flight`] knows repeats, [`pool`] chains what
//! waits, [`execute`] turns a block's transactions into columns, [`ledger`] ties pool, execution and state together for
//! the thread that owns them. [`topology`] declares stages, rings and pools before anything starts.

pub mod arena;
pub mod execute;
pub mod in_flight;
pub mod ledger;
pub mod pool;
pub mod ring;
pub mod topology;

//! Who mints a height. Stakes and a seed come in; seats, shards and delegates go out, with every threshold
//! ([`quorum`]), every instant of a slot ([`schedule`]) and what a seat's signature can state ([`statement`]).

pub mod draw;
pub mod members;
pub mod quorum;
pub mod schedule;
pub mod statement;

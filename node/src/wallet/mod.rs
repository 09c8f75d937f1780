//! The wallet: keys of owners, and a light client that believes certificates and proofs, no node.
//!
//! * [`client`] follows the chain by its certificates and checks what nodes say of accounts; [`transport`] asks them,
//!   [`time`] says what can be by the own clock.
//! * [`accounts`] is what of an account is proved, and what is said.
//! * [`order`] is what a user wants and whether it can be; [`settling`] signs it, keeps it, and follows it to its proved
//!   end.
//! * [`profile`] says which chain, nodes and wallet go together.
//! * [`kept`] is what stays on disk between two commands, [`sent`] a list for people; [`keys`] makes, keeps and opens owners' keys, [`error`] is why
//!   something has no answer.

pub mod accounts;
pub mod client;
pub mod error;
pub mod kept;
pub mod keys;
pub mod order;
pub mod profile;
pub mod sent;
pub mod settling;
pub mod time;
pub mod transport;

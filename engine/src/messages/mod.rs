//! What minters say to each other: the messages themselves ([`message`]), their bytes ([`codec`]), what these become in
//! memory ([`measure`]), and what of them is signed, to be verified before they are heard ([`claim`]).

pub mod claim;
pub mod codec;
pub mod measure;
pub mod message;

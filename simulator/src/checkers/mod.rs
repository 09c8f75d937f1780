//! What must hold whatever happens, looked at from outside: by what honest nodes send and finish. A checker a promise;
//! each writes what is broken into the run's verdict.

pub(crate) mod finals;
pub(crate) mod liars;
pub(crate) mod liveness;
pub(crate) mod penalties;
pub(crate) mod supply;
pub(crate) mod verdict;
pub(crate) mod votes;

//! What a run is found guilty of.

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is broken.
    pub what: String,
    /// Whether two blocks are final at one height.
    pub fork: bool,
}

/// The first broken promise: what comes after it may follow from it.
#[derive(Default)]
pub(crate) struct Verdict {
    failure: Option<Failure>,
}

impl Verdict {
    /// Notes a failure, if it is the first.
    pub(crate) fn fail(&mut self, what: String) {
        self.failure.get_or_insert(Failure { what, fork: false });
    }

    /// Notes a fork, which outweighs whatever came before it.
    pub(crate) fn fork(&mut self, what: String) {
        self.failure = Some(Failure { what, fork: true });
    }

    /// Whether something is broken.
    pub(crate) fn is_broken(&self) -> bool {
        self.failure.is_some()
    }

    /// What is broken, if anything.
    pub(crate) fn into_failure(self) -> Option<Failure> {
        self.failure
    }
}

//! Deliberate faults of the protocol, one at a time, to see that the simulator finds each. Outside of builds with the
//! feature `mutations` none can be planted, and [`planted`] is constant.

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the descriptions; docs/consensus.md has a line for each")]
pub enum Mutation {
    NoLock,
    UnlockByTime,
    QuorumMinusOne,
    VoteWithoutData,
    LockNotDurable,
    ReserveNotDurable,
    ComparesLockWrongly,
    NoHavesRule,
    OwnViewCounts,
    ModuloBias,
    CertificateHashedIntoBlock,
    VotesTwiceInAnAttempt,
    LateSecondVote,
    HighNotUpdated,
    PrepareNotVerified,
    FinalNotVerified,
    SignatureNotVerified,
    CommitteeFromOwnView,
    SeedFromOwnView,
    SlashesWithoutProof,
    EvidenceInSameSlot,
    MaturityOffByOne,
    BanKeepsDebits,
    PatchNotChecked,
    PenaltyForgotten,
    ReserveImplausible,
    VotesTwiceInARound,
    NewAccountsGetMore,
    SendersPayLess,
    CreatedNotCounted,
    FinalNotApplied,
    DrawByStakesOfNow,
    CustodyByHeads,
    EvidenceOutlivesStake,
    RecordsFirstCome,
    SystemUnchecked,
    SequenceBelieved,
    OwnForgotten,
    StaleVerified,
    CapacityIgnored,
    CapacityBelieved,
    PoolByArrival,
}

impl Mutation {
    /// Faults of the protocol: some seed of the simulator finds each.
    pub const ALL: [Mutation; 27] = [
        Mutation::NoLock,
        Mutation::UnlockByTime,
        Mutation::QuorumMinusOne,
        Mutation::VoteWithoutData,
        Mutation::LockNotDurable,
        Mutation::ReserveNotDurable,
        Mutation::ComparesLockWrongly,
        Mutation::NoHavesRule,
        Mutation::OwnViewCounts,
        Mutation::ModuloBias,
        Mutation::CertificateHashedIntoBlock,
        Mutation::VotesTwiceInAnAttempt,
        Mutation::LateSecondVote,
        Mutation::HighNotUpdated,
        Mutation::PrepareNotVerified,
        Mutation::FinalNotVerified,
        Mutation::SignatureNotVerified,
        Mutation::CommitteeFromOwnView,
        Mutation::SeedFromOwnView,
        Mutation::SlashesWithoutProof,
        Mutation::EvidenceInSameSlot,
        Mutation::MaturityOffByOne,
        Mutation::BanKeepsDebits,
        Mutation::PatchNotChecked,
        Mutation::PenaltyForgotten,
        Mutation::ReserveImplausible,
        Mutation::VotesTwiceInARound,
    ];

    /// Slips inside one function, which an assertion of that function finds before anybody else sees anything:
    /// `tests/asserted.rs` has each.
    pub const ASSERTED: [Mutation; 4] = [
        Mutation::NewAccountsGetMore,
        Mutation::SendersPayLess,
        Mutation::CreatedNotCounted,
        Mutation::FinalNotApplied,
    ];

    /// Faults of who mints and who keeps, which only somebody finds who arranges his stakes: the engine's
    /// `tests/selection_faults.rs` and the simulator's `tests/grinder.rs` have each.
    pub const SELECTION: [Mutation; 3] =
        [Mutation::DrawByStakesOfNow, Mutation::CustodyByHeads, Mutation::EvidenceOutlivesStake];

    /// Slips of the node around consensus: its `tests/promises.rs` and `tests/whole.rs` find it.
    pub const OF_NODE: [Mutation; 1] = [Mutation::OwnForgotten];

    /// Slips of the wallet: the lying server of the node's `tests/lying_server.rs` finds each.
    pub const OF_WALLET: [Mutation; 2] = [Mutation::SystemUnchecked, Mutation::SequenceBelieved];

    /// Slips of the node under load: tests of its `minting/room.rs`, `minting/pace.rs` and `tests/telling.rs` find them,
    /// and its `tests/whole.rs`, where whole nodes are simulated.
    pub const OF_LOAD: [Mutation; 4] =
        [Mutation::StaleVerified, Mutation::CapacityIgnored, Mutation::CapacityBelieved, Mutation::PoolByArrival];
}

#[cfg(feature = "mutations")]
mod switch {
    use super::Mutation;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Plants a fault, or none, for everything that this thread simulates from now on.
    pub fn plant(mutation: Option<Mutation>) {
        PLANTED.set(mutation);
    }

    /// Whether this fault is planted.
    pub fn planted(mutation: Mutation) -> bool {
        PLANTED.get() == Some(mutation)
    }
}

#[cfg(not(feature = "mutations"))]
mod switch {
    use super::Mutation;

    /// Whether this fault is planted: never in such a build.
    #[inline(always)]
    pub const fn planted(_: Mutation) -> bool {
        false
    }
}

#[cfg(feature = "mutations")]
pub use switch::plant;
pub use switch::planted;

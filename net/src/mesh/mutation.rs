//! Deliberate faults of the mesh, to see that its tests find each: as `dynemix_engine::base::mutation`, for this crate.
//! Outside of builds with the feature `mutations` none can be planted, and [`planted`] is constant.

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Bytes of frames that are not finished count in no budget.
    BudgetSkipsUnfinished,
}

#[cfg(feature = "mutations")]
mod switch {
    use super::Mutation;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Plants a fault, or none, in every mesh that this thread runs from now on.
    pub fn plant(mutation: Option<Mutation>) {
        PLANTED.set(mutation);
    }

    /// Whether this fault is planted.
    pub(crate) fn planted(mutation: Mutation) -> bool {
        PLANTED.get() == Some(mutation)
    }
}

#[cfg(not(feature = "mutations"))]
mod switch {
    use super::Mutation;

    /// Whether this fault is planted: never in such a build.
    #[inline(always)]
    pub(crate) const fn planted(_: Mutation) -> bool {
        false
    }
}

#[cfg(feature = "mutations")]
pub use switch::plant;
pub(super) use switch::planted;

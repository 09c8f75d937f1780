//! Supply: units come into being by issue alone.

use super::verdict::Verdict;
use crate::chain::state::Version;

/// After a final block there is what there was at genesis, and what was issued since.
pub(crate) fn is_conserved(genesis: &Version, version: &Version, verdict: &mut Verdict) {
    let (height, supply) = (version.system.height, version.state.supply());
    if supply != genesis.state.supply() + u128::from(version.system.pools.issued) {
        verdict.fail(format!("at height {height} there are {supply} units"));
    }
}

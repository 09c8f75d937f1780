//! One minter, or one chain, on a desk: whoever tests it is its network, its disk and its clock. One program, for what these
//! tests have in common takes far longer to build than to run.

mod clocks;
mod costs;
mod custody;
mod desk;
mod evidence;
mod scene;
mod still;
mod system;
mod unsure;
mod who_mints;

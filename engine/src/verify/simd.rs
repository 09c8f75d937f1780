//! The one door to vector instructions: which backend runs, and its kernels.
//!
//! The kernels are generic; here each is compiled once for each backend, inside a function that carries the backend's
//! target features, and called only after those were detected. One binary has them all.

use super::each::{self, Fixed, Rows, Term};
use super::field::{Fe, Packed};
use super::msm::{self, Buffers, Multiple};
use super::point::{Extended, decode, decode_hinted, hints, packed_identity, split};
use super::sha512::Padded;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// A way to verify signatures. All give the same verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Simd {
    /// One lane in 64-bit words; any machine.
    Portable,
    /// Four lanes in 256-bit vectors, with fused multiply-adds.
    Avx2,
    /// Four lanes in 256-bit vectors, with IFMA.
    AvxIfma,
    /// Eight lanes, with IFMA.
    Avx512,
}

/// A backend that this machine does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this CPU has no {0}; it has {list}", list = available_names())]
pub struct Unavailable(pub Simd);

fn available_names() -> String {
    Simd::available().iter().map(|simd| simd.name()).collect::<Vec<_>>().join(", ")
}

impl Simd {
    /// Every backend, best last.
    pub const ALL: [Simd; 4] = [Simd::Portable, Simd::Avx2, Simd::AvxIfma, Simd::Avx512];

    /// Whether this CPU has the instructions.
    pub fn is_available(self) -> bool {
        Instructions::of(self).is_some()
    }

    /// The backends that this CPU has.
    pub fn available() -> Vec<Simd> {
        Simd::ALL.into_iter().filter(|simd| simd.is_available()).collect()
    }

    /// The best that this CPU has.
    pub fn best() -> Simd {
        Simd::ALL.into_iter().rev().find(|simd| simd.is_available()).unwrap_or(Simd::Portable)
    }

    /// The backend, if this CPU has it.
    ///
    /// # Errors
    /// When it has not.
    pub fn required(self) -> Result<Simd, Unavailable> {
        if self.is_available() { Ok(self) } else { Err(Unavailable(self)) }
    }

    /// Those instructions of this CPU that a backend asks for, by the names that systems give them.
    pub fn features() -> Vec<&'static str> {
        #[cfg(target_arch = "x86_64")]
        let found = [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx_ifma", is_x86_feature_detected!("avxifma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512dq", is_x86_feature_detected!("avx512dq")),
            ("avx512vl", is_x86_feature_detected!("avx512vl")),
            ("avx512bw", is_x86_feature_detected!("avx512bw")),
            ("avx512ifma", is_x86_feature_detected!("avx512ifma")),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let found: [(&'static str, bool); 0] = [];
        found.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
    }

    /// Its name in flags and reports.
    pub fn name(self) -> &'static str {
        match self {
            Simd::Portable => "portable",
            Simd::Avx2 => "avx2",
            Simd::AvxIfma => "avx_ifma",
            Simd::Avx512 => "avx512",
        }
    }

    /// Elements that its vectors hold.
    pub fn lanes(self) -> usize {
        match self {
            Simd::Portable => 1,
            Simd::Avx2 | Simd::AvxIfma => 4,
            Simd::Avx512 => 8,
        }
    }
}

impl fmt::Display for Simd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Simd {
    type Err = String;

    fn from_str(name: &str) -> Result<Simd, String> {
        Simd::ALL.into_iter().find(|simd| simd.name() == name).ok_or_else(|| format!("no backend '{name}'"))
    }
}

/// Which compiled kernels run a backend.
#[derive(Clone, Copy, Debug)]
enum Instructions {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    AvxIfma,
    /// Where only AVX-512's encoding of the 256-bit instructions is there.
    #[cfg(target_arch = "x86_64")]
    AvxIfmaEvex,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Instructions {
    /// Those of a backend, if this CPU has them.
    #[cfg(target_arch = "x86_64")]
    fn of(simd: Simd) -> Option<Instructions> {
        let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let has_ifma_evex = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512ifma");
        let has_avx512 = has_ifma_evex && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512bw");
        match simd {
            Simd::Portable => Some(Instructions::Portable),
            Simd::Avx2 => has_avx2.then_some(Instructions::Avx2),
            Simd::AvxIfma if has_avx2 && is_x86_feature_detected!("avxifma") => Some(Instructions::AvxIfma),
            Simd::AvxIfma => (has_avx2 && has_ifma_evex).then_some(Instructions::AvxIfmaEvex),
            Simd::Avx512 => has_avx512.then_some(Instructions::Avx512),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn of(simd: Simd) -> Option<Instructions> {
        (simd == Simd::Portable).then_some(Instructions::Portable)
    }
}

/// What a backend computes. A `Kernels` exists only for an available backend: [`Kernels::new`] is the only way to one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernels {
    simd: Simd,
    instructions: Instructions,
}

macro_rules! vector_kernels {
    ($module:ident, $features:literal, $field:ty, $words:ty) => {
        #[cfg(target_arch = "x86_64")]
        mod $module {
            use super::*;

            #[target_feature(enable = $features)]
            pub(super) fn decode_lanes(encodings: &[[u8; 32]], packed: &mut [Packed]) -> u32 {
                decode::<$field>(encodings, packed)
            }

            #[target_feature(enable = $features)]
            pub(super) fn decode_hinted_lanes(encodings: &[[u8; 32]], said: &[[u8; 32]], packed: &mut [Packed]) -> u32 {
                decode_hinted::<$field>(encodings, said, packed)
            }

            #[target_feature(enable = $features)]
            pub(super) fn hint_lanes(points: &[Packed], indices: &[u32], found: &mut [[u8; 32]]) {
                hints::<$field>(points, indices, found)
            }

            #[target_feature(enable = $features)]
            pub(super) fn identity() -> Packed {
                packed_identity::<$field>()
            }

            #[target_feature(enable = $features)]
            pub(super) fn hash_lanes(inputs: &[Padded], digests: &mut [[u64; 8]]) {
                super::super::sha512::lanes::<$words>(inputs, digests);
            }

            #[target_feature(enable = $features)]
            pub(super) fn split_lanes(points: &[Packed], indices: &[u32], packed: &mut [Packed]) {
                split::<$field>(points, indices, packed)
            }

            #[target_feature(enable = $features)]
            pub(super) fn verdicts(table: &[Packed], fixed: &Fixed, terms: &[Term], rows: &mut Rows) -> u32 {
                each::verdicts::<$field>(table, fixed, terms, rows)
            }

            #[target_feature(enable = $features)]
            pub(super) fn sum(
                table: &[Packed],
                neutral: u32,
                multiples: &[Multiple],
                buffers: &mut Buffers,
            ) -> Extended<Fe> {
                msm::sum::<$field>(table, neutral, multiples, buffers)
            }
        }
    };
}

vector_kernels!(avx2, "avx2,fma", super::super::field_fma::Fe4, super::super::words_avx2::Words4);
vector_kernels!(
    avx_ifma,
    "avx2,fma,avxifma",
    super::super::field_ifma::Elements<super::super::vectors::Ymm>,
    super::super::words_avx2::Words4
);
vector_kernels!(
    avx_ifma_evex,
    "avx2,fma,avx512f,avx512vl,avx512ifma",
    super::super::field_ifma::Elements<super::super::vectors::YmmEvex>,
    super::super::words_avx2::Words4
);
vector_kernels!(
    avx512,
    "avx512f,avx512dq,avx512vl,avx512bw,avx512ifma",
    super::super::field_ifma::Elements<super::super::vectors::Zmm>,
    super::super::words_avx512::Words8
);

/// The kernel of the backend in use.
macro_rules! kernel {
    ($kernels:expr, $portable:expr, $kernel:ident($($argument:expr),*)) => {
        match $kernels.instructions {
            Instructions::Portable => $portable,
            // SAFETY: a `Kernels` exists only for a backend whose instructions were detected.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { avx2::$kernel($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::AvxIfma => unsafe { avx_ifma::$kernel($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::AvxIfmaEvex => unsafe { avx_ifma_evex::$kernel($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe { avx512::$kernel($($argument),*) },
        }
    };
}

impl Kernels {
    pub(super) fn new(simd: Simd) -> Result<Kernels, Unavailable> {
        let instructions = Instructions::of(simd).ok_or(Unavailable(simd))?;
        Ok(Kernels { simd, instructions })
    }

    pub(super) fn simd(self) -> Simd {
        self.simd
    }

    /// The neutral point in packed form.
    pub(super) fn identity(self) -> Packed {
        kernel!(self, packed_identity::<Fe>(), identity())
    }

    /// Decodes up to twice as many encodings as there are lanes; bit i: encoding i decodes. `packed` has room for whole
    /// vectors.
    pub(super) fn decode_lanes(self, encodings: &[[u8; 32]], packed: &mut [Packed]) -> u32 {
        let lanes = self.simd.lanes();
        assert!((1..=2 * lanes).contains(&encodings.len()) && packed.len() >= encodings.len().next_multiple_of(lanes));
        kernel!(self, decode::<Fe>(encodings, packed), decode_lanes(encodings, packed))
    }

    /// Takes one encoding a lane for the point with the x that a hint says; bit i: hint i fits.
    pub(super) fn decode_hinted_lanes(self, encodings: &[[u8; 32]], said: &[[u8; 32]], packed: &mut [Packed]) -> u32 {
        let lanes = self.simd.lanes();
        assert!(encodings.len() == lanes && said.len() == lanes && packed.len() == lanes);
        kernel!(self, decode_hinted::<Fe>(encodings, said, packed), decode_hinted_lanes(encodings, said, packed))
    }

    /// The x coordinates of one point a lane.
    pub(super) fn hint_lanes(self, points: &[Packed], indices: &[u32], found: &mut [[u8; 32]]) {
        assert!(indices.len() == self.simd.lanes() && found.len() == self.simd.lanes());
        kernel!(self, hints::<Fe>(points, indices, found), hint_lanes(points, indices, found))
    }

    /// Hashes one input a lane; the portable backend has no lanes for that.
    pub(super) fn hash_lanes(self, inputs: &[Padded], digests: &mut [[u64; 8]]) {
        assert!(inputs.len() == self.simd.lanes() && digests.len() == self.simd.lanes());
        kernel!(self, unreachable!("the portable backend hashes one by one"), hash_lanes(inputs, digests))
    }

    /// Multiplies one point a lane by 2^127.
    pub(super) fn split_lanes(self, points: &[Packed], indices: &[u32], packed: &mut [Packed]) {
        assert!(indices.len() == self.simd.lanes() && packed.len() == self.simd.lanes());
        kernel!(self, split::<Fe>(points, indices, packed), split_lanes(points, indices, packed))
    }

    /// A verdict for each of at most as many terms as there are lanes; see [`each::verdicts`].
    pub(super) fn verdicts(self, table: &[Packed], fixed: &Fixed, terms: &[Term], rows: &mut Rows) -> u32 {
        assert!((1..=self.simd.lanes()).contains(&terms.len()));
        kernel!(self, each::verdicts::<Fe>(table, fixed, terms, rows), verdicts(table, fixed, terms, rows))
    }

    /// The sum of all multiples; see [`msm::sum`].
    pub(super) fn sum(
        self,
        table: &[Packed],
        neutral: u32,
        multiples: &[Multiple],
        buffers: &mut Buffers,
    ) -> Extended<Fe> {
        kernel!(self, msm::sum::<Fe>(table, neutral, multiples, buffers), sum(table, neutral, multiples, buffers))
    }
}

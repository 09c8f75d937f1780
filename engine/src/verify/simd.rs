//! The one door to vector instructions: which backend runs, and its kernels.
//!
//! The kernels are generic; here each is compiled once for each backend, inside a function that carries the backend's
//! target features, and called only after those were detected. One binary has them all.

use super::each::{self, Fixed, Rows, Term};
use super::field::{Fe, Packed};
use super::msm::{self, Buffers, Multiple};
use super::point::{Extended, decode, packed_identity, split};
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
    /// Four lanes in 256-bit vectors.
    Avx2,
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
    pub const ALL: [Simd; 3] = [Simd::Portable, Simd::Avx2, Simd::Avx512];

    /// Whether this CPU has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            Simd::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512ifma")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
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

    /// Its name in flags and reports.
    pub fn name(self) -> &'static str {
        match self {
            Simd::Portable => "portable",
            Simd::Avx2 => "avx2",
            Simd::Avx512 => "avx512",
        }
    }

    /// Elements that its vectors hold.
    pub fn lanes(self) -> usize {
        match self {
            Simd::Portable => 1,
            Simd::Avx2 => 4,
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

/// What a backend computes. A `Kernels` exists only for an available backend: [`Kernels::new`] is the only way to one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernels {
    simd: Simd,
}

macro_rules! vector_kernels {
    ($module:ident, $features:literal, $field:ty, $words:ty) => {
        mod $module {
            use super::*;

            #[target_feature(enable = $features)]
            pub(super) fn decode_lanes(encodings: &[[u8; 32]], packed: &mut [Packed]) -> u32 {
                decode::<$field>(encodings, packed)
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
                short: &[Multiple<u128>],
                long: &[Multiple<[u64; 4]>],
                buffers: &mut Buffers,
            ) -> Extended<Fe> {
                msm::sum::<$field>(table, neutral, short, long, buffers)
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector_kernels!(
    avx512,
    "avx512f,avx512dq,avx512vl,avx512bw,avx512ifma",
    super::super::field_ifma::Fe8,
    super::super::words_avx512::Words8
);
#[cfg(target_arch = "x86_64")]
vector_kernels!(avx2, "avx2,fma", super::super::field_fma::Fe4, super::super::words_avx2::Words4);

impl Kernels {
    pub(super) fn new(simd: Simd) -> Result<Kernels, Unavailable> {
        Ok(Kernels { simd: simd.required()? })
    }

    pub(super) fn simd(self) -> Simd {
        self.simd
    }

    /// The neutral point in packed form.
    pub(super) fn identity(self) -> Packed {
        match self.simd {
            Simd::Portable => packed_identity::<Fe>(),
            // SAFETY: a `Kernels` exists only for a backend that was detected.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { avx2::identity() },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { avx512::identity() },
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }

    /// Decodes up to twice as many encodings as there are lanes; bit i: encoding i decodes. `packed` has room for whole
    /// vectors.
    pub(super) fn decode_lanes(self, encodings: &[[u8; 32]], packed: &mut [Packed]) -> u32 {
        let lanes = self.simd.lanes();
        assert!((1..=2 * lanes).contains(&encodings.len()) && packed.len() >= encodings.len().next_multiple_of(lanes));
        match self.simd {
            Simd::Portable => decode::<Fe>(encodings, packed),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { avx2::decode_lanes(encodings, packed) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { avx512::decode_lanes(encodings, packed) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }

    /// Hashes one input a lane; the portable backend has no lanes for that.
    pub(super) fn hash_lanes(self, inputs: &[Padded], digests: &mut [[u64; 8]]) {
        assert!(inputs.len() == self.simd.lanes() && digests.len() == self.simd.lanes());
        match self.simd {
            Simd::Portable => unreachable!("the portable backend hashes one by one"),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { avx2::hash_lanes(inputs, digests) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { avx512::hash_lanes(inputs, digests) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }

    /// Multiplies one point a lane by 2^127.
    pub(super) fn split_lanes(self, points: &[Packed], indices: &[u32], packed: &mut [Packed]) {
        assert!(indices.len() == self.simd.lanes() && packed.len() == self.simd.lanes());
        match self.simd {
            Simd::Portable => split::<Fe>(points, indices, packed),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { avx2::split_lanes(points, indices, packed) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { avx512::split_lanes(points, indices, packed) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }

    /// A verdict for each of at most as many terms as there are lanes; see [`each::verdicts`].
    pub(super) fn verdicts(self, table: &[Packed], fixed: &Fixed, terms: &[Term], rows: &mut Rows) -> u32 {
        assert!((1..=self.simd.lanes()).contains(&terms.len()));
        match self.simd {
            Simd::Portable => each::verdicts::<Fe>(table, fixed, terms, rows),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { avx2::verdicts(table, fixed, terms, rows) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { avx512::verdicts(table, fixed, terms, rows) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }

    /// The sum of all multiples; see [`msm::sum`].
    pub(super) fn sum(
        self,
        table: &[Packed],
        neutral: u32,
        short: &[Multiple<u128>],
        long: &[Multiple<[u64; 4]>],
        buffers: &mut Buffers,
    ) -> Extended<Fe> {
        match self.simd {
            Simd::Portable => msm::sum::<Fe>(table, neutral, short, long, buffers),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { avx2::sum(table, neutral, short, long, buffers) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { avx512::sum(table, neutral, short, long, buffers) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available"),
        }
    }
}

//! Which version of Agora this program is.

#[cfg(all(feature = "next", not(debug_assertions)))]
compile_error!(
    "the feature `next` makes a version that there is not: it is for debug builds alone"
);

/// The version of this program.
#[cfg(not(feature = "next"))]
pub const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// The version of this program, which is newer than it is without the feature.
#[cfg(feature = "next")]
pub const PROGRAM: &str = concat!(
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR"),
    ".1",
    env!("CARGO_PKG_VERSION_PATCH"),
);

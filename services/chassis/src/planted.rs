//! Bugs that are planted, so that `./dev faults --planted` shows that it finds them. Without
//! the feature `planted`, which only debug builds can have, none is there and nothing is
//! asked.

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("the feature `planted` breaks what it says: it is for debug builds alone");

/// Which bug is planted.
pub const VARIABLE: &str = "AGORA_PLANTED";

/// Whether a bug is planted.
#[cfg(feature = "planted")]
pub fn is(bug: &str) -> bool {
    use std::sync::LazyLock;

    static PLANTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(VARIABLE).ok());
    PLANTED.as_deref() == Some(bug)
}

/// Whether a bug is planted.
#[cfg(not(feature = "planted"))]
#[inline]
pub const fn is(_bug: &str) -> bool {
    false
}

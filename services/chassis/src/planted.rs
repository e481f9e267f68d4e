//! Bugs that are planted, so that `./dev faults --planted` shows that it finds them. Each is a
//! [`failpoint!`](crate::failpoint) where it stands. Without the feature `planted`, which only
//! debug builds can have, none is there and nothing is asked.

use clap::ValueEnum;

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("the feature `planted` breaks what it says: it is for debug builds alone");

/// Which bug is planted, by its name in kebab-case.
pub const VARIABLE: &str = "AGORA_PLANTED";

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bug {
    /// Two replicas publish at the same time, and nothing fences them.
    PublishWithoutTheFence,
    /// Some writes are answered OK, and rolled back.
    AnswerWithoutACommit,
    /// A checkpoint is committed before what it stands for.
    CheckpointOutsideTheTransaction,
    /// A retry is a new request.
    RequestIdIgnored,
    /// Replicas count sequences each for itself.
    SequenceFromMemory,
    /// The fallback shows what was not approved.
    FallbackWithoutTheApprovalFilter,
    /// The view takes a decision for the newest revision's, whatever it names.
    DecisionOnTheNewestRevision,
    /// Reads do not wait for the position that they are given.
    PositionNotAwaited,
    /// What a stream holds beyond the journal is left out.
    TailNotImported,
    /// Writes go on while journal and stream are not compared.
    GateNeverClosed,
    /// Consumers leave out every hundredth event.
    EventDropped,
    /// The view does not update its counts.
    CountsNotKept,
    /// A decision replaces one that it does not know of.
    BothDecisionsWin,
    /// Everybody reads what moderators do.
    ViewWithoutApproval,
    /// Hashes are not chained.
    ChainWithoutThePreviousHash,
    /// A view that is rewound is served while it is empty.
    RewindInPlace,
    /// Decisions are joined by a revision's number.
    JoinByRevisionNumber,
    /// A damaged stream is deleted before the journal is verified.
    RefillWithoutProof,
    /// Streams are compared by what a replica that lags says.
    RelayTrustsDirectGet,
    /// A database that was put back is not noticed.
    BackupUnnoticed,
    /// Every stream is taken for one's own, whatever installation it names.
    InstallationIgnored,
}

impl Bug {
    /// As [`VARIABLE`] names it.
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("no bug is hidden");
        value.get_name().to_owned()
    }
}

/// Whether a bug is planted.
#[cfg(feature = "planted")]
pub fn is(bug: Bug) -> bool {
    use std::sync::LazyLock;

    static PLANTED: LazyLock<Option<Bug>> = LazyLock::new(|| {
        let name = std::env::var(VARIABLE).ok()?;
        let bug = Bug::from_str(&name, false);
        Some(bug.unwrap_or_else(|_| panic!("{VARIABLE} names no bug: {name}")))
    });
    *PLANTED == Some(bug)
}

/// Whether a bug is planted.
#[cfg(not(feature = "planted"))]
#[inline]
pub const fn is(_bug: Bug) -> bool {
    false
}

/// Where a bug stands that can be planted:
/// - `failpoint!(Bug)` is whether it is;
/// - `failpoint!(Bug => wrong)` does something wrong then, `failpoint!(Bug if when => wrong)`
///   where that is so, too;
/// - `failpoint!(Bug => wrong, else right)` is the one or the other.
#[macro_export]
macro_rules! failpoint {
    ($bug:ident) => {
        $crate::planted::is($crate::planted::Bug::$bug)
    };
    ($bug:ident => $wrong:expr) => {
        if $crate::failpoint!($bug) {
            $wrong
        }
    };
    ($bug:ident if $when:expr => $wrong:expr) => {
        if $crate::failpoint!($bug) && $when {
            $wrong
        }
    };
    ($bug:ident => $wrong:expr, else $right:expr) => {
        if $crate::failpoint!($bug) { $wrong } else { $right }
    };
}

use metrics::Unit;

/// Where the view that is served comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was there when the program started.
    File,
    /// A peer gave it when the program started.
    Snapshot,
    /// It was made from the streams when the program started, as there was none.
    Streams,
    /// An operator had it made beside the one that was served before.
    Rebuild,
    /// An operator has gone back to it.
    Undo,
    /// A source has gone back, and it was made from what that holds.
    Rewind,
}

impl Origin {
    const ALL: [Self; 6] =
        [Self::File, Self::Snapshot, Self::Streams, Self::Rebuild, Self::Undo, Self::Rewind];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Snapshot => "snapshot",
            Self::Streams => "streams",
            Self::Rebuild => "rebuild",
            Self::Undo => "undo",
            Self::Rewind => "rewind",
        }
    }

    /// Has the metrics say so.
    pub(crate) fn tell(self) {
        metrics::describe_gauge!(
            "agora_view_origin",
            Unit::Count,
            "1 for where the view that is served comes from"
        );
        for origin in Self::ALL {
            metrics::gauge!("agora_view_origin", "origin" => origin.as_str())
                .set(f64::from(u8::from(origin == self)));
        }
    }
}

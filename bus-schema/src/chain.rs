use std::fmt;

/// An event's number in its source's journal: 1, 2, 3 … without holes. 0 stands
/// for the place before the first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The place before the first event.
    pub const ZERO: Self = Self(0);

    /// The sequence that follows.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// As SQL stores it; a journal never grows past `i64::MAX`.
    pub const fn as_i64(self) -> i64 {
        self.0 as i64
    }

    /// From what SQL stored.
    pub const fn from_i64(value: i64) -> Self {
        Self(value as u64)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A link of the hash chain: BLAKE3 of (previous hash, event bytes).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What the first event chains to.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash of the event that follows this one.
    pub fn chain(self, event: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(event);
        Self(*hasher.finalize().as_bytes())
    }

    /// From its 32 bytes, or from nothing if their number is another one.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As the `Agora-Hash` header carries it: 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    /// From 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|hash| Self(*hash.as_bytes()))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// How far a chain goes: the last sequence and its hash. A consumer's checkpoint,
/// and a journal's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last sequence; 0 before the first event.
    pub sequence: Sequence,
    /// The hash of that event; zeros before the first.
    pub hash: Hash,
}

impl Checkpoint {
    /// The place before the first event.
    pub const ZERO: Self = Self { sequence: Sequence::ZERO, hash: Hash::ZERO };

    /// The checkpoint after one more event with these bytes.
    pub fn extend(self, event: &[u8]) -> Self {
        Self { sequence: self.sequence.next(), hash: self.hash.chain(event) }
    }
}

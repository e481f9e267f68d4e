/// Whether a post takes comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostState {
    /// It does.
    Open,
    /// It can be read.
    Closed,
    /// A tombstone is left.
    Deleted,
}

/// A number that is no state of a post.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no state of a post: 1 is open, 2 closed, 3 deleted")]
pub struct UnknownPostState(i32);

impl PostState {
    /// As databases hold it, and as SQL names it.
    pub const fn number(self) -> i32 {
        match self {
            Self::Open => 1,
            Self::Closed => 2,
            Self::Deleted => 3,
        }
    }
}

impl TryFrom<i32> for PostState {
    type Error = UnknownPostState;

    fn try_from(number: i32) -> Result<Self, UnknownPostState> {
        match number {
            1 => Ok(Self::Open),
            2 => Ok(Self::Closed),
            3 => Ok(Self::Deleted),
            other => Err(UnknownPostState(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_hold_the_numbers_that_they_held_ever() {
        let numbers = [(1, PostState::Open), (2, PostState::Closed), (3, PostState::Deleted)];
        for (number, state) in numbers {
            assert_eq!(state.number(), number);
            assert_eq!(PostState::try_from(number), Ok(state));
        }
        for number in [0, 4] {
            assert_eq!(PostState::try_from(number), Err(UnknownPostState(number)));
        }
    }
}

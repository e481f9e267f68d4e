use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Permission;

/// What a principal is on a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Reader,
    /// Writes posts and comments.
    Author,
    /// Works the queue.
    Moderator,
    /// Sets the policy; changes others' posts and comments.
    Admin,
    /// Looks into journals, streams and the view; imports.
    Operator,
    /// Another service of Agora.
    Service,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Reader, Self::Author, Self::Moderator, Self::Admin, Self::Operator, Self::Service];

    /// The one table from roles to permissions. Reading is everybody's.
    pub const fn permissions(self) -> &'static [Permission] {
        use Permission::{Administer, Import, Moderate, Operate, Read, WriteComment, WritePost};
        match self {
            Self::Reader => &[Read],
            Self::Author => &[Read, WritePost, WriteComment],
            Self::Moderator => &[Read, WritePost, WriteComment, Moderate],
            Self::Admin => &[Read, WritePost, WriteComment, Moderate, Administer],
            Self::Operator => &[Read, Operate, Import, WritePost, WriteComment, Moderate],
            Self::Service => &[Read, Operate],
        }
    }

    /// Its name in tokens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Author => "author",
            Self::Moderator => "moderator",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Service => "service",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown role {0}: there are reader, author, moderator, admin, operator and service")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == name);
        found.ok_or_else(|| UnknownRole(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_everywhere() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
        assert!("root".parse::<Role>().is_err());
    }

    #[test]
    fn everybody_reads_and_few_import() {
        for role in Role::ALL {
            assert!(role.permissions().contains(&Permission::Read), "{role}");
        }
        let may = |permission| {
            Role::ALL.into_iter().filter(move |role| role.permissions().contains(&permission))
        };
        assert!(may(Permission::Import).eq([Role::Operator]));
        assert!(may(Permission::Administer).eq([Role::Admin]));
        assert!(may(Permission::Operate).eq([Role::Operator, Role::Service]));
        assert_eq!(may(Permission::Unspecified).count(), 0);
    }
}
